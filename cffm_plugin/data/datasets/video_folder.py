"""Any folder of videos with frames and index masks, all frames labelled or only some of them.

    <root>/<video>/frames/<frame>.jpg      frames, .jpg, .jpeg or .png, in natural order of names
    <root>/<video>/masks/<frame>.png       index masks of the frames that have labels

is the layout by default; formats of the two paths say any other one. Registering touches no folder
but reads a YAML file; the folders are read when the dataset is loaded.
"""

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import not_yaml, some
from ...libraries import catalogs, import_library
from ..images import image_size
from .class_files import check_class_files
from .gaps import gap_message, split_at_gaps
from .records import (
    Note,
    Problem,
    make_training_record,
    natural_order,
    records_of,
    register_videos,
    stop_at,
)
from .video_folder_arguments import DEFAULT_FRAMES, DEFAULT_MASKS, VideoFolderSpec, check_arguments
from .video_folder_files import find_videos, note_unmatched

_SCAN_THREADS = 16
logger = logging.getLogger(__name__)
_registered: dict[str, VideoFolderSpec] = {}


def register_video_folder(
    name: str,
    root: str | PathLike,
    classes: Sequence[str],
    *,
    is_train: bool,
    videos: Sequence[str] | str | PathLike | None = None,
    frames: str = DEFAULT_FRAMES,
    masks: str | None = DEFAULT_MASKS,
    colors: Sequence[Sequence[int]] | None = None,
    label_mapping: Mapping[int | str, str | int] | str | None = None,
    void: Sequence[int | str] | None = None,
    mask_values: Mapping[str, str | int] | None = None,
    split_at_gaps: bool = False,
) -> None:
    """Register a folder of videos with detectron2, under a name to put in DATASETS.

    A frame without a mask is a frame without labels: the targets of training clips are labelled
    frames, other frames carry no loss, and evaluation scores the labelled ones.

    Args:
        name: the name.
        root: the folder; ``~`` is expanded.
        classes: K names, 2 to 255.
        is_train: True for records of videos, to put in DATASETS.TRAIN; False for records of frames,
            to put in DATASETS.TEST. They are those of ``load_vspw``.
        videos: names of the dataset's videos; or a file with one per line, relative to ``root``; by
            default all, in natural order.
        frames: path of a frame below ``root``, with ``{video}`` and ``{frame}`` for their names,
            such as "JPEGImages/480p/{video}/{frame}.jpg". Without a suffix: .jpg, .jpeg and .png.
            Without ``{video}``: one video, with the name of ``root``.
        masks: path of a frame's mask, in the same way; without a suffix: .png. None: no labels.
        colors: (R, G, B) of every class, 0..255; by default VOC's colour map.
        label_mapping: value in the masks -> name or index of its class. Several values may be of
            one class. "from_0": value k is class k, and 0 is the first class; "from_1": value k + 1
            is class k, and 0 is void. By default from_0; where that may be wrong, it is asked.
            Values may be colours, "#804080", of masks that are colour pictures.
        void: values that mean "no class"; by default 255, unless it is of a class, and 0 where
            classes count from 1. Values that stand neither here nor in ``label_mapping`` count as
            void too, with a warning.
        mask_values: where the values stand in a mask, the attributes of ``MaskEncoding``:
            {"channel": "R"}, {"divide": 1000, "divide_from": 1000}.
        split_at_gaps: a step of the frames' numbers that is over twice the video's usual one begins
            a new video, "<video>/<its first frame>".

    Raises:
        ValueError: an argument is not what it should be.
    """
    arguments = dict(locals())  # all, by their names
    _register(check_arguments(arguments.pop("name"), arguments))


def register_video_folder_from_yaml(file: str | PathLike) -> list[str]:
    """Register the folders of videos that a YAML file describes.

    The file maps the name of each dataset to the other arguments of ``register_video_folder``. A
    relative ``root`` is relative to the file's folder. Registering a file again does nothing.

    Args:
        file: the YAML file; ``~`` is expanded.

    Returns:
        the names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no such YAML, an argument is unknown, missing or not what it should
            be, or a name is registered already for something else. Nothing is registered then.
    """
    file = Path(os.path.abspath(Path(file).expanduser()))
    folders = folders_of_yaml(file)
    for folder in folders:
        if folder.name in catalogs.DatasetCatalog and _registered.get(folder.name) != folder:
            raise ValueError(
                f"{file}: {folder.name}: a dataset of this name is registered already, and it is "
                "another one. Choose another name. datasets/README.md shows an example."
            )
    for folder in folders:
        if folder.name not in catalogs.DatasetCatalog:
            _register(folder)
    return [folder.name for folder in folders]


def folders_of_yaml(file: Path) -> list[VideoFolderSpec]:
    """What a YAML file of ``register_video_folder_from_yaml`` says.

    Raises:
        FileNotFoundError, ValueError: as there.
    """
    try:
        described = _read_yaml(file)
        for arguments in described.values():
            if isinstance(root := arguments.get("root"), str):
                arguments["root"] = file.parent / Path(root).expanduser()
        return [check_arguments(name, arguments) for name, arguments in described.items()]
    except ValueError as error:
        raise ValueError(f"{file}: {error}. datasets/README.md shows an example.") from error


def load_video_folder(folder: VideoFolderSpec, note: Note = stop_at) -> list[dict[str, Any]]:
    """Records of a folder of videos, as ``load_vspw`` gives them.

    Args:
        folder: what was registered.
        note: told of files that match nothing, and of files of classes that say otherwise. By
            default the first is logged and the second raised.

    Raises:
        FileNotFoundError, ValueError: those of ``find_videos``.
        ValueError: a mask is of no frame, or ``check_class_files`` finds something.
    """
    note = _log_or_stop if note is stop_at else note
    videos, frames, masks = find_videos(folder)
    note_unmatched(folder, frames, masks, note)
    one_of_each = {mask.parent: mask for of in masks.values() for mask in of.values()}
    check_class_files(folder, one_of_each.values(), note)
    without_frame = [
        str(mask)
        for video, of_video in masks.items()
        for frame, mask in of_video.items()
        if frame not in frames.get(video, {})
    ]
    if without_frame:
        raise ValueError(
            f"{folder.root}: {len(without_frame)} masks of dataset {folder.name} are of no frame, "
            f"since no file {folder.frames} goes with them: {some(without_frame)}. Correct "
            "`frames` or `masks`, or move these files away."
        )
    names = [sorted(frames[video], key=natural_order) for video in videos]
    first_frames = [frames[video][ordered[0]] for video, ordered in zip(videos, names)]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        sizes = list(pool.map(image_size, first_frames))
    records = []
    for video, ordered, size in zip(videos, names, sizes):
        video_masks = masks.get(video, {})
        pairs = [(frames[video][name], video_masks.get(name)) for name in ordered]
        records.append(make_training_record(video, pairs, size))
    if folder.split_at_gaps:
        parted = map(split_at_gaps, records, names)
        records = [stretch for stretches in parted for stretch in stretches]
    elif note is _log_or_stop:  # the doctor looks for itself, in every dataset
        _warn_of_gaps(folder.name, dict(zip(videos, map(gap_message, names))))
    logger.info(
        "Dataset %s: %d video(s), %d frames, %d of them with masks",
        folder.name,
        len(records),
        sum(len(frames[video]) for video in videos),
        sum(len(masks.get(video, {})) for video in videos),
    )
    return records_of(records, folder.is_train)


def _warn_of_gaps(dataset: str, messages: Mapping[str, str | None]) -> None:
    """``messages``: video -> where its frames' numbers jump."""
    if found := {video: message for video, message in messages.items() if message}:
        video, message = next(iter(found.items()))
        more = f" So {len(found) - 1} more video(s) do." if len(found) > 1 else ""
        logger.warning("Dataset %s, video %s: %s%s", dataset, video, message, more)


def _log_or_stop(problem: Problem) -> None:
    stop_at(problem)
    logger.warning("%s", problem.error)


def _register(folder: VideoFolderSpec) -> None:
    register_videos(
        folder.name,
        functools.partial(load_video_folder, folder),
        classes=folder.classes,
        colors=folder.colors,
        label_mapping=folder.label_mapping,
        root=folder.root,
    )
    _registered[folder.name] = folder


def _read_yaml(file: Path) -> dict[str, dict[str, Any]]:
    """Dataset name -> arguments."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file of video folders.")
    yaml = import_library("yaml", "DATASETS.VIDEO_FOLDERS")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{not_yaml(error)}. Paths with braces want quotes") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError("expected the names of datasets, and under each its keys")
    return {str(name): arguments for name, arguments in content.items()}
