"""Clips of videos: datasets; and for detectron2 augmentation, mapper and loaders.

Importing this registers the builtin datasets, where detectron2 is installed, and touches no disk.
"""

from typing import TYPE_CHECKING, Any

from ..core.clips import inference_clip, offline_clip
from ..libraries import import_part
from .classes import check_num_classes, common_label_mapping, names_and_colors, numbered_classes
from .clip_records import draw_training_clip, with_references
from .dataset import Dataset
from .datasets import (
    datasets_folder,
    load_camvid,
    load_cityscapes_video,
    load_vspw,
    make_training_record,
    records_of,
    register_video_folder,
    register_video_folder_from_yaml,
    register_videos,
    register_vspw,
)
from .file_names import check_name, link_out_of, path_below
from .image_opening import (
    DEFAULT_MAX_MEGAPIXELS,
    MASK_FORMATS,
    TooLargeError,
    check_max_megapixels,
    opened_image,
)
from .images import (
    IGNORE_LABEL,
    LabelMapping,
    exif_orientation,
    image_size,
    read_image,
    read_mask,
    save_label_map,
)
from .prototype_folder import PrototypeFolder
from .registered_datasets import check_registered
from .samplers import VideoInferenceSampler, VideoTrainingSampler

if TYPE_CHECKING:
    from .augmentation import build_test_augmentations
    from .loaders import build_clip_test_loader, build_clip_train_loader
    from .mapper import ClipMapper

__all__ = [
    "DEFAULT_MAX_MEGAPIXELS",
    "IGNORE_LABEL",
    "MASK_FORMATS",
    "ClipMapper",
    "Dataset",
    "LabelMapping",
    "PrototypeFolder",
    "TooLargeError",
    "VideoInferenceSampler",
    "VideoTrainingSampler",
    "build_clip_test_loader",
    "build_clip_train_loader",
    "build_test_augmentations",
    "check_max_megapixels",
    "check_name",
    "check_num_classes",
    "common_label_mapping",
    "check_registered",
    "datasets_folder",
    "draw_training_clip",
    "exif_orientation",
    "image_size",
    "load_camvid",
    "load_cityscapes_video",
    "load_vspw",
    "link_out_of",
    "make_training_record",
    "names_and_colors",
    "numbered_classes",
    "offline_clip",
    "opened_image",
    "path_below",
    "read_image",
    "read_mask",
    "records_of",
    "register_video_folder",
    "register_video_folder_from_yaml",
    "register_videos",
    "register_vspw",
    "save_label_map",
    "inference_clip",
    "with_references",
]

_OF_DETECTRON2 = {
    "ClipMapper": "mapper",
    "build_clip_test_loader": "loaders",
    "build_clip_train_loader": "loaders",
    "build_test_augmentations": "augmentation",
}


def __getattr__(name: str) -> Any:
    return import_part(__name__, name, _OF_DETECTRON2)
