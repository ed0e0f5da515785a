"""A folder of pseudo labels: where its files are, what their values mean, and its YAML file.

<output>/masks/<video>/<frame>.png    palette PNGs
<output>/<name>.yaml                  the dataset, for DATASETS.VIDEO_FOLDERS
<output>/settings.json                what the labels were made with
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode

from ..constants import FRAMES_OF_VIDEOS
from ..data import LabelMapping, offline_clip, read_mask, save_label_map
from ..data.classes import label_mapping_of
from ..data.datasets.path_format import PathFormat
from ..data.datasets.records import FRAME_SUFFIXES, natural_order
from ..data.datasets.video_folder_arguments import check_arguments
from ..data.datasets.video_folder_files import find_videos
from ..data.file_names import path_below
from ..data.images import MOST_CLASSES
from ..data.mask_encoding import PLAIN
from ..files import whole_file, write_text
from ..inference import dataset_classes
from ..libraries import import_library

DEFAULT_FRAMES = FRAMES_OF_VIDEOS


class PseudoLabelFolder:
    """Pseudo labels of a folder of videos, and the dataset that both make.

    Args:
        output: the folder; ``~`` is expanded.
        root: the folder of videos.
        name: of the dataset.
        classes: name and colour, (R, G, B), of each of the K classes.
        label_mapping: what the values in the PNGs are to mean; K classes. One that no value
            stands for becomes void.
        frames: path of a frame below ``root``, as for ``register_video_folder``.
        videos: names, or a file with one per line; by default all that are there.

    Raises:
        ValueError: an argument is not what it should be.
    """

    def __init__(
        self,
        output: str | os.PathLike,
        root: str | os.PathLike,
        *,
        name: str,
        classes: Sequence[tuple[str, tuple[int, int, int]]],
        label_mapping: LabelMapping,
        frames: str = DEFAULT_FRAMES,
        videos: Sequence[str] | str | os.PathLike | None = None,
    ):
        self.output = Path(os.path.abspath(Path(output).expanduser()))
        root = Path(os.path.abspath(Path(root).expanduser()))
        has_video = PathFormat(frames, FRAME_SUFFIXES).has_video
        masks = self.output / "masks" / ("{video}" if has_video else root.name) / "{frame}.png"
        self._arguments = {
            "root": str(root),
            "classes": [name for name, _ in classes],
            "colors": [list(color) for _, color in classes],
            "is_train": True,
            "frames": frames,
            "masks": str(masks),
            "label_mapping": {raw: classes[k][0] for raw, k in label_mapping.class_of.items()},
            "void": list(label_mapping.void),
        }
        self._videos = check_arguments(name, self._arguments | {"videos": videos})
        self.name = name
        self.label_mapping = label_mapping
        # A value that means "no class", 255 where that is one; and the least one of every class.
        # A class that has none can't be told to the training: it is void.
        self._void = max(label_mapping.void or set(range(256)) - set(label_mapping.class_of))
        self._value_of = np.full(len(classes), self._void, dtype=np.uint8)
        for raw in sorted(label_mapping.class_of, reverse=True):
            self._value_of[label_mapping.class_of[raw]] = raw
        self._palette = [
            classes[label_mapping.class_of[raw]][1] if raw in label_mapping.class_of else (0, 0, 0)
            for raw in range(256)
        ]

    @classmethod
    def from_config(
        cls, cfg: CfgNode, output: str | os.PathLike, root: str | os.PathLike, **options: Any
    ) -> "PseudoLabelFolder":
        """With the classes of a config's model, and label values as in its training data.

        These are those of the first dataset of DATASETS.TRAIN that is registered, has index masks
        and the model's number of classes, so that both can be trained on together; or else value k
        is class k, and 255 is void.

        Args:
            cfg: of the model, MODEL.WEIGHTS included.
            output, root, **options: see the class.

        Raises:
            FileNotFoundError: MODEL.WEIGHTS names no file.
            ValueError: an argument is not what it should be.
        """
        classes = dataset_classes(cfg)
        if len(classes) > MOST_CLASSES:
            raise ValueError(
                f"The model has {len(classes)} classes (MODEL.SEM_SEG_HEAD.NUM_CLASSES), and a PNG "
                f"of 8 bits holds {MOST_CLASSES} at most beside void"
            )
        mappings = map(label_mapping_of, cfg.DATASETS.TRAIN)
        identity = LabelMapping(len(classes), {k: k for k in range(len(classes))})
        fitting = (
            m
            for m in mappings
            if m is not None and m.num_classes == len(classes) and m.encoding == PLAIN
        )
        label_mapping = next(fitting, identity)
        return cls(output, root, classes=classes, label_mapping=label_mapping, **options)

    @property
    def yaml_file(self) -> Path:
        """The dataset's description."""
        return self.output / f"{self.name}.yaml"

    @property
    def settings(self) -> dict[str, Any]:
        """What the PNGs depend on, for JSON."""
        others = ("is_train", "masks")
        return {key: value for key, value in self._arguments.items() if key not in others}

    def find_frames(self, offsets: Sequence[int], reverse_prob: float) -> list[dict[str, Any]]:
        """A record of every frame, video by video: as for ``ClipMapper``, and its ``mask_file``.

        Args:
            offsets, reverse_prob: see ``offline_clip``.

        Raises:
            FileNotFoundError: the folder, its frames, or those of a video are missing.
            ValueError: two files are the same frame, or no file may be named as a frame is.
        """
        videos, frames, _ = find_videos(dataclasses.replace(self._videos, masks=None))
        records = []
        for video in videos:
            names = sorted(frames[video], key=natural_order)
            files = [str(frames[video][name]) for name in names]
            for index, name in enumerate(names):
                *references, _ = offline_clip(index, len(names), offsets, reverse_prob)
                record = {
                    "video_id": video,
                    "file_name": files[index],
                    "reference_file_names": [files[i] for i in references],
                    "mask_file": str(path_below(self.output / "masks", f"{video}/{name}.png")),
                }
                records.append(record)
        return records

    def values(self, labels: np.ndarray, is_void: np.ndarray) -> np.ndarray:
        """What a PNG holds for class indices.

        Args:
            labels: (H, W), 0..K-1.
            is_void: (H, W) bool: where no class is to be said.

        Returns:
            (H, W) uint8.
        """
        return np.where(is_void, np.uint8(self._void), self._value_of[labels])

    def write(self, mask_file: str, values: np.ndarray) -> None:
        """Write the PNG of a frame, (H, W) uint8, whole or not at all."""
        # After a power cut, ``count_values`` finds what did not reach the disk.
        with whole_file(Path(mask_file), durable=False) as partial:
            save_label_map(partial, values, self._palette)

    def write_yaml(self, videos: Sequence[str]) -> None:
        """Write the dataset's description.

        Args:
            videos: names of those that have labels.
        """
        yaml = import_library("yaml", "The description of a dataset")
        described = {self.name: self._arguments | {"videos": list(videos)}}
        text = yaml.safe_dump(described, sort_keys=False, default_flow_style=None, width=100)
        write_text(self.yaml_file, text)

    def shares(self, counts: np.ndarray) -> tuple[Mapping[str, float], float]:
        """What a number of pixels of every value, (256,), says of the labels.

        Returns:
            class -> its share of the pixels that have a class, 0..1; and the share of all pixels
            that have none.
        """
        names = self._videos.classes
        pixels_by_class: dict[str, int] = dict.fromkeys(names, 0)
        for raw, k in self.label_mapping.class_of.items():
            pixels_by_class[names[k]] += int(counts[raw])
        labelled, total = sum(pixels_by_class.values()), int(counts.sum())
        shares = {name: count / max(labelled, 1) for name, count in pixels_by_class.items()}
        return shares, (total - labelled) / max(total, 1)


def count_values(mask_file: str, max_megapixels: float) -> np.ndarray | None:
    """How often each value, 0..255, stands in a PNG; None where there is no whole one.

    Args:
        mask_file: the PNG.
        max_megapixels: see ``read_mask``.
    """
    try:
        return np.bincount(read_mask(mask_file, max_megapixels).reshape(-1), minlength=256)
    except (FileNotFoundError, ValueError):
        return None
