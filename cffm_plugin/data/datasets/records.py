"""What all datasets share: folders of files, records, and their registration with detectron2."""

import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...constants import SPLITS
from ...errors import some
from ...libraries import catalogs, has_detectron2
from ..file_names import EXPECTED_NAME, fault_of_name
from ..images import IGNORE_LABEL, LabelMapping, image_size
from ..registered_datasets import unknown_dataset

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
IMAGE_SUFFIXES = (
    *FRAME_SUFFIXES,
    *(".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif", ".avif", ".heic", ".jp2"),
)

_roots: dict[str, str | os.PathLike | None] = {}


@dataclass(frozen=True)
class Problem:
    """Something amiss with the lists, folders or file names of a dataset.

    Attributes:
        kind: what it is, such as "list_missing".
        files: the files or folders concerned.
        error: says it, and what was expected.
        video: the id of the video concerned, if it is one.
        stops: whether loading stops with ``error``; False for what does no harm.
    """

    kind: str
    files: tuple[Path, ...]
    error: Exception
    video: str | None = None
    stops: bool = True


# What a loader does about a problem. Where this returns, the loader goes on as well as it can.
Note = Callable[[Problem], None]


def stop_at(problem: Problem) -> None:
    """Raise the problem's error if it is one that stops loading."""
    if problem.stops:
        raise problem.error


def datasets_folder() -> Path:
    """Where datasets lie: $DETECTRON2_DATASETS with ``~`` expanded, or else ./datasets."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def root_of(name: str) -> Path:
    """The folder that a registered dataset lies in; ``datasets_folder()`` where nobody knows."""
    return Path(_roots.get(name) or datasets_folder()).expanduser().absolute()


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
    root: str | os.PathLike | None = None,
) -> None:
    """Register a dataset of videos with detectron2.

    Args:
        name: to put in DATASETS.
        load: gives the records; called when the dataset is used.
        classes: K class names.
        colors: (R, G, B) of every class.
        label_mapping: what the values in the masks mean; K classes.
        root: the folder that it lies in; None for one in ``datasets_folder()``.

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
    catalogs.DatasetCatalog.register(name, load)
    catalogs.MetadataCatalog.get(name).set(
        stuff_classes=list(classes),
        stuff_colors=[tuple(color) for color in colors],
        thing_dataset_id_to_contiguous_id={},  # no instances; MaskFormer's descendants ask for it
        ignore_label=IGNORE_LABEL,
        evaluator_type="vspw",
        label_mapping=label_mapping,
    )
    _roots[name] = root


def register_builtin(
    prefix: str, load: Callable[[str], list[dict[str, Any]]], **described: Any
) -> None:
    """Register ``<prefix>_train``, ``_val`` and ``_test``, but names that are there already.

    Args:
        prefix: first part of the names.
        load: gives the records of a split.
        described: ``classes``, ``colors`` and ``label_mapping``, see ``register_videos``.
    """
    if not has_detectron2():  # whose registry nobody will ask
        return
    for split in SPLITS:
        name = f"{prefix}_{split}"
        if name not in catalogs.DatasetCatalog:
            register_videos(name, functools.partial(load, split), **described)


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
    of_video = {key: video[key] for key in ("video_id", "height", "width")}
    return [
        of_video | {"frame_index": index, "num_frames": len(frames)} | frame
        for index, frame in enumerate(frames)
    ]


def videos_of(name: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The videos of a dataset's records, of either kind: dicts of ``video_id`` and ``frames``.

    Raises:
        ValueError: the records are of something else; the error names the dataset, ``name``.
    """
    if not all("video_id" in r and ("frames" in r or "frame_index" in r) for r in records):
        raise ValueError(
            f"Dataset {name}: expected records with `video_id` and either the `frames` of a video "
            f"or the `frame_index` of a frame; the first one has {', '.join(records[0])}. Register "
            "videos, for example with cffm_plugin.data.register_video_folder."
        )
    if records and "frames" in records[0]:
        return records
    groups = itertools.groupby(records, key=lambda record: record["video_id"])
    return [{"video_id": video_id, "frames": list(frames)} for video_id, frames in groups]


def loader_of(name: str) -> Callable[..., list[dict[str, Any]]]:
    """What loads the records of a registered dataset.

    Raises:
        ValueError: no dataset of this name is registered.
    """
    if name not in catalogs.DatasetCatalog:
        raise ValueError(unknown_dataset(name))
    return catalogs.DatasetCatalog[name]


def read_list(file: Path, note: Note = stop_at) -> dict[int, str]:
    """A list of videos, one per line: line number -> video. Blanks do not matter.

    Raises:
        ValueError: the list can't be read, is empty, names a video twice, or holds a name that no
            file may have (see ``fault_of_name``); unless ``note`` goes on, without such names.
    """
    try:
        text = _text_of(file)
    except (OSError, ValueError) as reason:
        error = ValueError(
            f"{file} can't be read ({reason}). Save it as UTF-8 text that you may read."
        )
        note(Problem("list_unreadable", (file,), error))
        return {}
    # Only here: `splitlines` would part names at characters that end no line.
    every = {n: line.strip(" \t\r") for n, line in enumerate(text.split("\n"), 1)}
    lines = {n: line for n, line in every.items() if line}
    if not lines:
        note(Problem("list_empty", (file,), ValueError(f"{file}: the list is empty.")))
    faults = {n: fault for n, line in lines.items() if (fault := fault_of_name(line))}
    if faults:
        places = [f"line {n}: {lines[n]!r:.100} {fault}" for n, fault in faults.items()]
        error = ValueError(
            f"{file}: {some(places)}. Expected the name of a video, {EXPECTED_NAME}. Correct the "
            "list; files are named after videos."
        )
        note(Problem("list_name_unsafe", (file,), error))
        lines = {n: line for n, line in lines.items() if n not in faults}
    twice = [video for video, count in Counter(lines.values()).items() if count > 1]
    if twice:
        error = ValueError(f"{file} names a video more than once: {some(twice)}.")
        note(Problem("id_listed_twice", (file,), error))
    return lines


def _text_of(file: Path) -> str:
    """A text file, UTF-8 with or without a byte-order mark."""
    if not file.is_file():  # a pipe would never end
        raise OSError("it is no regular file")
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ValueError(f"line {line}: the byte 0x{byte:02X} is not UTF-8") from error


def masks_of(
    frames: Sequence[Path],
    folder: Path,
    masks: Collection[str],
    note: Note = stop_at,
    video_id: str | None = None,
) -> list[Path]:
    """The masks of frames: the PNGs of their names among ``masks``, the files in ``folder``.

    Args:
        frames: all frames whose masks are in ``folder``, or should be.
        folder, masks: the folder and the names of the files in it.
        note: told of frames without mask, and of masks without frame.
        video_id: the frames' video, if they are of one.

    Raises:
        FileNotFoundError: a frame has no mask, unless ``note`` goes on.
    """
    expected = [f"{frame.stem}.png" for frame in frames]
    missing = [i for i, name in enumerate(expected) if name not in masks]
    if missing:
        first, more = missing[0], len(missing) - 1
        error = FileNotFoundError(
            f"{frames[first]} has no mask: expected {folder / expected[first]}."
            + (f" Nor have {more} more frames." if more else "")
        )
        files = tuple(folder / expected[i] for i in missing)
        note(Problem("mask_missing", files, error, video_id))
    if without_frame := sorted(set(masks) - set(expected)):
        files = tuple(folder / name for name in without_frame)
        unused = ValueError(f"{folder} holds masks of no frame: {some(without_frame)}.")
        note(Problem("mask_without_frame", files, unused, video_id, stops=False))
    return [folder / name for name in expected]


def size_of(frame: Path, note: Note = stop_at, video_id: str | None = None) -> tuple[int, int]:
    """``image_size`` of a video's first frame; (0, 0) where it can't be had and ``note`` goes on.

    Raises:
        OSError, ValueError: those of ``image_size``, unless ``note`` goes on.
    """
    try:
        return image_size(frame)
    except (OSError, ValueError) as error:
        note(Problem("frame_unreadable", (frame,), error, video_id))
        return 0, 0


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
