"""From a dataset's record to what the model takes."""

import logging
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from .augmentation import inference_augmentations, training_augmentations
from .classes import common_label_mapping
from .clips import DEFAULT_OFFSETS, check_offsets, training_clip
from .images import LabelMapping, image_to_tensor, read_image, read_mask
from .prototype_folder import PrototypeFolder

logger = logging.getLogger(__name__)


class ClipMapper:
    """Reads a clip, augments it and makes tensors of it.

    Training, from the record of a video: draws a clip whose target is a labelled frame. Returns
        image: list of T (3, h, w) tensors, oldest reference first (last in time where the video was
            drawn reversed), target last; uint8, or float32 where padded (see ``PadToSize``);
        sem_seg: list of T (h, w) int64 tensors, 255 where there is no class, or None for a
            reference without a mask;
        video_id, frame_indices, file_names; height and width of the target's file.

    Test, from the record of a frame: the same ``image`` list of the record's references and its
    frame, and everything in the record, with height and width those of the frame's own file.

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
        frame_offsets: Sequence[int] = DEFAULT_OFFSETS,
        reverse_prob: float = 0.5,
        read_references: bool = True,
        prototypes: PrototypeFolder | None = None,
    ):
        """
        Args:
            is_train: which kind of record to expect.
            augmentations: applied to blue-green-red images, one draw for a clip.
            image_format: channel order of the tensors, "RGB" or "BGR".
            label_mapping: what the values in mask files mean. Training needs it.
            frame_offsets: training: references relative to the target. Test records bring theirs.
            reverse_prob: training: probability of drawing from the video reversed in time.
            read_references: test: False to read the target alone, for an image segmentor.
            prototypes: for CFFM++: adds those of the clip's video, (P, C), as ``prototypes``.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f'image_format is "RGB" or "BGR", got "{image_format}".')
        if is_train and label_mapping is None:
            raise ValueError("Training needs a label_mapping: what the values in masks mean.")
        check_offsets(frame_offsets)
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.label_mapping = label_mapping
        self.frame_offsets = tuple(frame_offsets)
        self.reverse_prob = reverse_prob
        self.read_references = read_references
        self.prototypes = prototypes
        self._videos_warned_of: set[str] = set()

    @classmethod
    def from_config(
        cls, cfg: CfgNode, is_train: bool = True, dataset_name: str | None = None
    ) -> dict[str, Any]:
        """``dataset_name``: whose label mapping to use; by default that of DATASETS.TRAIN."""
        arguments: dict[str, Any] = {
            "is_train": is_train,
            "image_format": cfg.INPUT.FORMAT,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "reverse_prob": cfg.INPUT.CLIP.REVERSE_PROB,
            "read_references": cfg.MODEL.TEMPORAL.ENABLED,
        }
        if cfg.MODEL.TEMPORAL.ENABLED and cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED:
            arguments["prototypes"] = PrototypeFolder(cfg.MODEL.TEMPORAL.PROTOTYPES.FOLDER)
        if not is_train:
            arguments["augmentations"] = inference_augmentations(
                fit_size=cfg.INPUT.CLIP.FIT_SIZE,
                divisor=max(1, cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY),
            )
            return arguments
        mean = cfg.MODEL.PIXEL_MEAN
        arguments["augmentations"] = training_augmentations(
            fit_size=cfg.INPUT.CLIP.FIT_SIZE,
            ratio_range=cfg.INPUT.CLIP.RATIO_RANGE,
            crop_size=tuple(cfg.INPUT.CROP.SIZE) if cfg.INPUT.CROP.ENABLED else None,
            crop_type=cfg.INPUT.CROP.TYPE,
            max_class_area=cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA,
            flip=cfg.INPUT.RANDOM_FLIP,
            color=cfg.INPUT.CLIP.COLOR_DISTORTION,
            pixel_mean=mean[::-1] if cfg.INPUT.FORMAT == "RGB" else mean,
        )
        names = cfg.DATASETS.TRAIN if dataset_name is None else (dataset_name,)
        num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        arguments["label_mapping"] = common_label_mapping(names, num_classes)
        return arguments

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Map a record; see the class.

        Raises:
            FileNotFoundError, ValueError: a file is missing, damaged, or not what it should be.
        """
        mapped = self._map_video(record) if self.is_train else self._map_frame(record)
        if self.prototypes is not None:
            mapped["prototypes"] = self.prototypes.load(record["video_id"])
        return mapped

    def _map_video(self, record: dict[str, Any]) -> dict[str, Any]:
        rng = random.Random(random.getrandbits(64))
        labelled = labelled_frames(record)
        if not labelled:
            raise ValueError(
                f"Video {record['video_id']}, {record['frames'][0]['file_name']}: training needs a "
                "mask, and no frame of the video has one. Is a test split among DATASETS.TRAIN?"
            )
        indices = training_clip(
            len(record["frames"]), self.frame_offsets, rng, self.reverse_prob, labelled
        )
        frames = [record["frames"][index] for index in indices]
        images = [read_image(frame["file_name"]) for frame in frames]
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
        return {
            "image": [image_to_tensor(image, self.image_format) for image in images],
            "sem_seg": [
                None if label is None else torch.from_numpy(label.astype(np.int64, order="C"))
                for label in labels
            ],
            "video_id": record["video_id"],
            "frame_indices": indices,
            "file_names": [frame["file_name"] for frame in frames],
            "height": height,
            "width": width,
        }

    def _map_frame(self, record: dict[str, Any]) -> dict[str, Any]:
        references = record["reference_file_names"] if self.read_references else []
        images = [read_image(file_name) for file_name in (*references, record["file_name"])]
        height, width = images[-1].shape[:2]

        target = T.AugInput(images[-1])
        transforms = self.augmentations(target)
        images = [*map(transforms.apply_image, images[:-1]), target.image]
        return record | {
            "image": [image_to_tensor(image, self.image_format) for image in images],
            "height": height,
            "width": width,
        }

    def _read_labels(
        self, video_id: str, frame: dict[str, Any], image: np.ndarray
    ) -> np.ndarray | None:
        """A frame's class indices, (H, W) uint8, of the frame's own size; None without a mask."""
        assert self.label_mapping is not None  # __init__ has seen to it
        file_name = frame["sem_seg_file_name"]
        if file_name is None:
            return None
        raw = read_mask(file_name)
        if raw.shape != image.shape[:2]:
            raise ValueError(
                f"A frame and its mask must be of one size, but {frame['file_name']} is "
                f"{image.shape[1]}x{image.shape[0]} and {file_name} is "
                f"{raw.shape[1]}x{raw.shape[0]} (width x height)."
            )
        if video_id not in self._videos_warned_of:
            foreign = self.label_mapping.foreign_values(raw)
            if foreign:
                self._videos_warned_of.add(video_id)
                logger.warning(
                    "%s: the values %s stand for no class; they count as void. Not said again for "
                    "video %s.",
                    file_name,
                    ", ".join(map(str, foreign)),
                    video_id,
                )
        return self.label_mapping(raw)


def labelled_frames(record: dict[str, Any]) -> list[int]:
    """Indices of the frames of a video, a training record, that have a mask."""
    frames = record["frames"]
    return [i for i, frame in enumerate(frames) if frame["sem_seg_file_name"] is not None]
