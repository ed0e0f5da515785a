"""From a dataset's record to what the model takes."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .augmentation import build_test_augmentations, build_training_augmentations
from .classes import common_label_mapping
from .image_opening import DEFAULT_MAX_MEGAPIXELS, check_max_megapixels
from .images import IGNORE_LABEL, LabelMapping, image_to_tensor, read_image
from .prototype_folder import PrototypeFolder

logger = logging.getLogger(__name__)


class ClipMapper:
    """Reads a clip, augments it and makes tensors of it.

    Which frames make a clip is the loader's to say, see ``draw_training_clip`` and
    ``with_references``.

    Training, from a clip: a record whose ``frames`` are its frames, the target last. Returns
        image: list of T (3, h, w) tensors in that order; uint8, or float32 where padded (see
            ``PadToSize``);
        sem_seg: list of T (h, w) int64 tensors, ``ignore_value`` where there is no class, or None
            for a reference without a mask;
        file_names; height and width of the target's file; all else that the record has.

    Test, from the record of a frame: the same ``image`` list of the record's references, where it
    has ``reference_file_names``, and its frame; and everything in the record, with height and width
    those of the frame's own file.

    All draws come from ``random`` and ``numpy.random``, as in detectron2.
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        augmentations: Sequence[T.Augmentation],
        image_format: str = "RGB",
        label_mapping: LabelMapping | None = None,
        prototypes: PrototypeFolder | None = None,
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
        ignore_value: int = IGNORE_LABEL,
    ):
        """
        Args:
            is_train: which kind of record to expect.
            augmentations: applied to blue-green-red images, one draw for a clip.
            image_format: channel order of the tensors, "RGB" or "BGR".
            label_mapping: what the values in mask files mean. Training needs it.
            prototypes: for CFFM++: adds those of the clip's video, (P, C), as ``prototypes``.
            max_megapixels: larger frames and masks are an error, see ``read_image``.
            ignore_value: what stands where there is no class, as the head expects it.

        Raises:
            ValueError: an argument is out of range.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f'image_format is "RGB" or "BGR", got "{image_format}".')
        if is_train and label_mapping is None:
            raise ValueError("Training needs a label_mapping: what the values in masks mean.")
        check_max_megapixels(max_megapixels)
        if label_mapping is not None and not label_mapping.num_classes <= ignore_value <= 255:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.IGNORE_VALUE (ignore_value) is {ignore_value}. It stands in "
                "label maps of 8 bits where there is no class: expected a number beyond the "
                f"{label_mapping.num_classes} classes, {label_mapping.num_classes} to 255. 255 is "
                "right for any dataset; what masks hold there is said by `void`."
            )
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.label_mapping = label_mapping
        self.prototypes = prototypes
        self.max_megapixels = max_megapixels
        self.ignore_value = ignore_value
        self._videos_warned_of: set[str] = set()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, is_train: bool = True, dataset_name: str | None = None
    ) -> dict[str, Any]:
        """``dataset_name``: whose label mapping to use; by default that of DATASETS.TRAIN."""
        arguments: dict[str, Any] = {
            "is_train": is_train,
            "image_format": cfg.INPUT.FORMAT,
            "max_megapixels": cfg.INPUT.MAX_MEGAPIXELS,
        }
        if cfg.MODEL.TEMPORAL.ENABLED and cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED:
            arguments["prototypes"] = PrototypeFolder(cfg.MODEL.TEMPORAL.PROTOTYPES.FOLDER)
        if not is_train:
            # Test-time augmentation resizes the frames itself.
            arguments["augmentations"] = (
                [] if cfg.TEST.AUG.ENABLED else build_test_augmentations(cfg)
            )
            return arguments
        arguments["augmentations"] = build_training_augmentations(cfg)
        names = cfg.DATASETS.TRAIN if dataset_name is None else (dataset_name,)
        num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        arguments["label_mapping"] = common_label_mapping(names, num_classes)
        arguments["ignore_value"] = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
        return arguments

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map a record; see the class.

        Raises:
            OSError, ValueError: a file is missing, damaged, or not what it should be. The error
                names video, frame and file.
        """
        mapped = self._map_clip(record) if self.is_train else self._map_frame(record)
        if self.prototypes is not None:
            mapped["prototypes"] = self.prototypes.load(record["video_id"])
        return mapped

    def _map_clip(self, record: dict[str, Any]) -> dict[str, Any]:
        frames = record["frames"]
        if frames[-1]["sem_seg_file_name"] is None:
            raise ValueError(
                f"Video {record['video_id']}, {frames[-1]['file_name']}: training needs a mask of "
                "the last frame of a clip, the target, and it has none."
            )
        images = [self._read_frame(record, frame["file_name"]) for frame in frames]
        labels = [
            self._read_labels(record["video_id"], frame, image)
            for frame, image in zip(frames, images)
        ]
        height, width = images[-1].shape[:2]

        target = T.AugInput(images[-1], sem_seg=labels[-1])
        transforms = self.augmentations(target)
        images = [*map(transforms.apply_image, images[:-1]), target.image]
        labels = [
            *(
                None if label is None else transforms.apply_segmentation(label)
                for label in labels[:-1]
            ),
            target.sem_seg,
        ]
        others = {key: value for key, value in record.items() if key != "frames"}
        return others | {
            "image": [image_to_tensor(image, self.image_format) for image in images],
            "sem_seg": [
                None if label is None else self._as_head_expects(label) for label in labels
            ],
            "file_names": [frame["file_name"] for frame in frames],
            "height": height,
            "width": width,
        }

    def _as_head_expects(self, labels: np.ndarray) -> torch.Tensor:
        """Class indices, 255 for none, (h, w) uint8 -> int64 with the head's value for none."""
        head_labels = torch.from_numpy(labels.astype(np.int64, order="C"))
        if self.ignore_value != IGNORE_LABEL:
            head_labels[head_labels == IGNORE_LABEL] = self.ignore_value
        return head_labels

    def _map_frame(self, record: dict[str, Any]) -> dict[str, Any]:
        references = record.get("reference_file_names", ())
        files = (*references, record["file_name"])
        images = [self._read_frame(record, file_name) for file_name in files]
        height, width = images[-1].shape[:2]

        target = T.AugInput(images[-1])
        transforms = self.augmentations(target)
        images = [*map(transforms.apply_image, images[:-1]), target.image]
        return record | {
            "image": [image_to_tensor(image, self.image_format) for image in images],
            "height": height,
            "width": width,
        }

    def _read_frame(self, record: dict[str, Any], file_name: str) -> np.ndarray:
        with _naming(record.get("video_id"), file_name):
            return read_image(file_name, self.max_megapixels)

    def _read_labels(
        self, video_id: str, frame: dict[str, Any], image: np.ndarray
    ) -> np.ndarray | None:
        """A frame's class indices, (H, W) uint8, of the frame's own size; None without a mask."""
        assert self.label_mapping is not None  # __init__ has seen to it
        file_name = frame["sem_seg_file_name"]
        if file_name is None:
            return None
        with _naming(video_id, frame["file_name"]):
            raw = self.label_mapping.read(file_name, self.max_megapixels)
            if raw.shape != image.shape[:2]:
                raise ValueError(
                    f"A frame and its mask must be of one size, but {frame['file_name']} is "
                    f"{image.shape[1]}x{image.shape[0]} and {file_name} is "
                    f"{raw.shape[1]}x{raw.shape[0]} (width x height), each turned as its EXIF says."
                )
        if video_id not in self._videos_warned_of:
            foreign = self.label_mapping.foreign_values(raw)
            if foreign:
                self._videos_warned_of.add(video_id)
                logger.warning(
                    "%s: the values %s stand for no class; they count as void. Not said again for "
                    "video %s.",
                    file_name,
                    ", ".join(map(self.label_mapping.encoding.name_of, foreign)),
                    video_id,
                )
        return self.label_mapping(raw)


@contextmanager
def _naming(video_id: str | None, file_name: str) -> Iterator[None]:
    """Errors say which frame of which video could not be read, in a worker process too."""
    try:
        yield
    except (OSError, ValueError) as error:
        kinds = (FileNotFoundError, OSError, ValueError)  # which take a message alone
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"Video {video_id}, frame {Path(file_name).stem}: {error}") from error
