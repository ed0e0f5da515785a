"""What all datasets share: folders of files, records, and their registration with detectron2."""

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..images import IGNORE_LABEL, LabelMapping

SPLITS = ("train", "val", "test")
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")

_NAMED_IN_ERRORS = 5


def datasets_folder() -> Path:
    """Where datasets lie: $DETECTRON2_DATASETS with ``~`` expanded, or else ./datasets."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def builtin_root(folder: str, how_to_get: str) -> Path:
    """A builtin dataset's folder in ``datasets_folder()``.

    Raises:
        FileNotFoundError: there is none; the error says where it was looked for, and
            ``how_to_get`` it ("Download X into it").
    """
    root = datasets_folder() / folder
    if not root.is_dir():
        variable = os.environ.get("DETECTRON2_DATASETS")
        reason = (
            f"DETECTRON2_DATASETS is {variable}"
            if variable
            else f"DETECTRON2_DATASETS is not set, so it was looked for in {Path.cwd()}/datasets"
        )
        raise FileNotFoundError(
            f"{root}: there is no such folder ({reason}). {how_to_get}, or point "
            "DETECTRON2_DATASETS to the folder that holds it; see datasets/README.md."
        )
    return root


def register_videos(
    name: str,
    load: Callable[[], list[dict[str, Any]]],
    *,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    label_mapping: LabelMapping,
) -> None:
    """Register a dataset of videos with detectron2.

    Args:
        name: to put in DATASETS.
        load: gives the records; called when the dataset is used.
        classes: K class names.
        colors: (R, G, B) of every class.
        label_mapping: what the values in the masks mean; K classes.

    Raises:
        ValueError: classes, colours and mapping are not of one number.
    """
    if len(classes) != len(colors):
        raise ValueError(f"{name}: {len(classes)} classes, but {len(colors)} colors.")
    if len(classes) != label_mapping.num_classes:
        raise ValueError(
            f"{name}: {len(classes)} classes, but the label mapping has "
            f"{label_mapping.num_classes}."
        )
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        stuff_classes=list(classes),
        stuff_colors=[tuple(color) for color in colors],
        ignore_label=IGNORE_LABEL,
        evaluator_type="vspw",
        label_mapping=label_mapping,
    )


def register_builtin(
    prefix: str,
    load: Callable[[str], list[dict[str, Any]]],
    *,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    label_mapping: LabelMapping,
) -> None:
    """Register ``<prefix>_train``, ``_val`` and ``_test``, but names that are there already.

    Args:
        prefix: first part of the names.
        load: gives the records of a split.
        classes, colors, label_mapping: see ``register_videos``.
    """
    for split in SPLITS:
        name = f"{prefix}_{split}"
        if name not in DatasetCatalog:
            register_videos(
                name,
                functools.partial(load, split),
                classes=classes,
                colors=colors,
                label_mapping=label_mapping,
            )


def make_training_record(
    video_id: str, frames: Iterable[tuple[Path, Path | None]], size: tuple[int, int]
) -> dict[str, Any]:
    """A video's training record.

    Args:
        video_id: its name.
        frames: every frame and its mask, None without labels, in order.
        size: height and width of the frames.
    """
    return {
        "video_id": video_id,
        "frames": [
            {"file_name": str(frame), "sem_seg_file_name": None if mask is None else str(mask)}
            for frame, mask in frames
        ],
        "height": size[0],
        "width": size[1],
    }


def records_of(videos: list[dict[str, Any]], is_train: bool) -> list[dict[str, Any]]:
    """The records of a dataset, from those of its videos: these, or one per frame to test."""
    return videos if is_train else [frame for video in videos for frame in make_test_records(video)]


def make_test_records(video: dict[str, Any]) -> list[dict[str, Any]]:
    """A video's test records, one per frame, from its training record."""
    frames = video["frames"]
    records = []
    for index, frame in enumerate(frames):
        records.append(
            {
                "video_id": video["video_id"],
                "frame_index": index,
                "num_frames": len(frames),
                "file_name": frame["file_name"],
                "sem_seg_file_name": frame["sem_seg_file_name"],
                "height": video["height"],
                "width": video["width"],
            }
        )
    return records


def read_list(file: Path) -> dict[int, str]:
    """A list of videos, one per line: line number -> video. Blanks do not matter.

    Raises:
        ValueError: the list is empty, or names a video twice.
    """
    text = file.read_text(encoding="utf-8-sig")  # with or without a byte-order mark
    lines = {n: line.strip() for n, line in enumerate(text.splitlines(), 1) if line.strip()}
    if not lines:
        raise ValueError(f"{file}: the list is empty.")
    twice = [video for video, count in Counter(lines.values()).items() if count > 1]
    if twice:
        raise ValueError(f"{file} names a video more than once: {some(twice)}.")
    return lines


def mask_of(frame: Path, folder: Path, masks: Collection[str]) -> Path:
    """A frame's mask: the PNG of its name among ``masks``, the names of ``folder``'s files.

    Raises:
        FileNotFoundError: there is none.
    """
    name = f"{frame.stem}.png"
    if name not in masks:
        raise FileNotFoundError(f"{frame} has no mask: expected {folder / name}.")
    return folder / name


def visible_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names of the files with one of the suffixes, without hidden ones; [] without a folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [n for n in names if n.lower().endswith(suffixes) and not n.startswith(".")]


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A sort key that puts frame 9 before frame 10, zero-padded or not."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def some(items: Sequence[str]) -> str:
    """The first items, and how many more there are, for an error."""
    more = len(items) - _NAMED_IN_ERRORS
    return ", ".join(items[:_NAMED_IN_ERRORS]) + (f" and {more} more" if more > 0 else "")
