"""VSPW and every dataset in its layout.

    <root>/train.txt, val.txt, test.txt       one video id per line
    <root>/data/<video>/origin/*.jpg          frames
    <root>/data/<video>/mask/*.png            masks of the same names: 0 and 255 void, k + 1 class k

Registering touches no disk; the folders are read when the dataset is loaded.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import some
from ..file_names import EXPECTED_NAME, fault_of_name
from ..images import LabelMapping
from . import gaps
from .records import (
    FRAME_SUFFIXES,
    Note,
    Problem,
    builtin_root,
    make_training_record,
    masks_of,
    natural_order,
    read_list,
    records_of,
    register_builtin,
    register_videos,
    size_of,
    stop_at,
    visible_files,
)
from .vspw_classes import VSPW_CLASSES, VSPW_COLORS, voc_colors

_SCAN_THREADS = 16  # reading folders and headers is waiting, most of all on network disks


def load_vspw(
    root: str | PathLike,
    split: str,
    *,
    is_train: bool | None = None,
    split_at_gaps: bool = False,
    note: Note = stop_at,
) -> list[dict[str, Any]]:
    """Records of a dataset in VSPW's layout.

    Args:
        root: the folder with ``<split>.txt`` and ``data``; ``~`` is expanded.
        split: name of the list file without ``.txt``. In "test", videos may come without masks.
        is_train: True for training records, one per video; False for test records, one per frame.
            By default True for the split "train".
        split_at_gaps: see ``register_video_folder``; False for VSPW's own numbers.
        note: told of everything amiss. By default the first problem is raised; where ``note``
            returns, loading goes on with what there is.

    Returns:
        Training: dicts of ``video_id``, ``frames`` (a list of dicts of ``file_name`` and
        ``sem_seg_file_name``), ``height``, ``width``. Test: dicts of ``video_id``,
        ``frame_index``, ``num_frames``, ``file_name``, ``sem_seg_file_name``, ``height``,
        ``width``. The size is that of the video's first frame. Without masks
        ``sem_seg_file_name`` is None.

    Raises:
        FileNotFoundError: the root, the list, a video, its frames or a mask is missing.
        ValueError: the list is empty or names a video twice; two files are the same frame; the
            first frame of a video is no image; no file may be named as a video or a frame is (see
            ``fault_of_name``).
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: there is no such folder. datasets/README.md shows what a dataset in VSPW's "
            "layout looks like."
        )
    video_ids = _read_list(root, split, note)
    scan = functools.partial(_scan_video, root, needs_masks=split != "test", note=note)
    if note is not stop_at:
        _note_unlisted(root, note)
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        videos = [video for video in pool.map(scan, video_ids) if video is not None]
    if split_at_gaps:
        names = [[Path(f["file_name"]).stem for f in video["frames"]] for video in videos]
        parted = map(gaps.split_at_gaps, videos, names)
        videos = [stretch for stretches in parted for stretch in stretches]
    return records_of(videos, split == "train" if is_train is None else is_train)


def register_vspw(
    name: str,
    root: str | PathLike,
    split: str,
    *,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]] | None = None,
    is_train: bool | None = None,
    split_at_gaps: bool = False,
) -> None:
    """Register a dataset in VSPW's layout with detectron2, under a name to put in DATASETS.

    Args:
        name: the name.
        root, split, is_train, split_at_gaps: see ``load_vspw``.
        classes: K class names; class k is stored as k + 1 in the masks.
        colors: (R, G, B) of every class; by default VOC's colour map.

    Raises:
        ValueError: there are not as many colours as classes.
    """
    register_videos(
        name,
        functools.partial(load_vspw, root, split, is_train=is_train, split_at_gaps=split_at_gaps),
        classes=classes,
        colors=voc_colors(len(classes)) if colors is None else colors,
        label_mapping=LabelMapping.shifted_by_one(len(classes)),
    )


def _read_list(root: Path, split: str, note: Note) -> list[str]:
    """The ids of the videos in ``<root>/<split>.txt`` that have a folder."""
    list_file = root / f"{split}.txt"
    if not list_file.is_file():
        error = FileNotFoundError(
            f"{list_file}: there is no such file. It lists the videos of the split, one id per "
            "line; see datasets/README.md."
        )
        note(Problem("list_missing", (list_file,), error))
        return []
    lines = read_list(list_file, note)
    missing = {n: v for n, v in lines.items() if not (root / "data" / v).is_dir()}
    if missing:
        places = [f"line {n}: {root / 'data' / video_id}" for n, video_id in missing.items()]
        error = FileNotFoundError(
            f"{list_file}: {len(missing)} of the {len(lines)} videos have no folder: "
            f"{some(places)}. Is the download complete?"
        )
        files = tuple(root / "data" / video_id for video_id in missing.values())
        note(Problem("video_missing", files, error))
    return [v for v in dict.fromkeys(lines.values()) if v not in missing.values()]


def _note_unlisted(root: Path, note: Note) -> None:
    """Note the folders of videos that no list in the root names."""
    lists = [read_list(file, note=lambda problem: None) for file in root.glob("*.txt")]
    listed = {video_id for lines in lists for video_id in lines.values()}
    for folder in (root / "data").glob("[!.]*"):
        if folder.name not in listed and folder.is_dir():
            unlisted = ValueError(f"{folder}: no list names this video, so it is never read.")
            note(Problem("video_unlisted", (folder,), unlisted, folder.name, stops=False))


def _scan_video(root: Path, video_id: str, needs_masks: bool, note: Note) -> dict[str, Any] | None:
    """The training record of a video; None where there is none and ``note`` goes on."""
    origin = root / "data" / video_id / "origin"
    mask = root / "data" / video_id / "mask"
    try:
        names = sorted(visible_files(origin, FRAME_SUFFIXES), key=natural_order)
        masks = visible_files(mask, (".png",))
    except OSError as reason:
        note(Problem("video_unreadable", (origin.parent,), reason, video_id))
        return None
    if unsafe := {name: fault for name in names if (fault := fault_of_name(name))}:
        faults = [f"{name!r} {fault}" for name, fault in unsafe.items()]
        error = ValueError(
            f"{origin}: {some(faults)}. Files are named after frames. Expected {EXPECTED_NAME}. "
            "Rename the frame and its mask."
        )
        note(Problem("frame_name_unsafe", tuple(origin / name for name in unsafe), error, video_id))
        theirs = {f"{Path(name).stem}.png" for name in unsafe}
        masks = [name for name in masks if name not in theirs]
    frames = [origin / name for name in names if name not in unsafe]
    if not frames:
        no_frames = FileNotFoundError(
            f"{origin}: there are no frames ({', '.join(FRAME_SUFFIXES)}) of video {video_id}."
        )
        note(Problem("no_frames", (origin,), no_frames, video_id))
        return None
    stems = Counter(frame.stem for frame in frames)
    if twice := tuple(frame for frame in frames if stems[frame.stem] > 1):
        same = [frame.name for frame in twice]
        error = ValueError(f"{origin}: several files are the same frame: {some(same)}.")
        note(Problem("frame_in_two_files", twice, error, video_id))
    pairs: Iterable[tuple[Path, Path | None]] = [(frame, None) for frame in frames]
    if needs_masks or masks:
        pairs = zip(frames, masks_of(frames, mask, masks, note, video_id))
    return make_training_record(video_id, pairs, size_of(frames[0], note, video_id))


def register_builtin_in_vspw_layout(
    prefix: str,
    folder: str,
    how_to_get: str,
    *,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
) -> None:
    """Register ``<prefix>_train``, ``_val`` and ``_test``, but names that are there already.

    Args:
        prefix: first part of the names.
        folder: below ``datasets_folder()``.
        how_to_get: what an error says where it is not there ("Download X into it").
        classes, colors: see ``register_vspw``.
    """

    def load(split: str, note: Note = stop_at) -> list[dict[str, Any]]:
        return load_vspw(builtin_root(folder, how_to_get), split, note=note)

    mapping = LabelMapping.shifted_by_one(len(classes))
    register_builtin(prefix, load, classes=classes, colors=colors, label_mapping=mapping)


register_builtin_in_vspw_layout(
    "vspw", "vspw/VSPW_480p", "Download VSPW_480p into it", classes=VSPW_CLASSES, colors=VSPW_COLORS
)
