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

from detectron2.data import DatasetCatalog

from ...libraries import import_library
from ..images import IGNORE_LABEL, image_size
from ..names import EXPECTED_NAME, fault_of_name
from .path_format import Match, PathFormat
from .records import (
    make_training_record,
    natural_order,
    read_list,
    records_of,
    register_videos,
    some,
)
from .video_folder_arguments import DEFAULT_FRAMES, DEFAULT_MASKS, VideoFolder, check_arguments

Files = dict[str, dict[str, Path]]  # video -> name of a frame -> file

_SCAN_THREADS = 16
logger = logging.getLogger(__name__)
_registered: dict[str, VideoFolder] = {}


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
    label_mapping: Mapping[int, str | int] | None = None,
    void: Sequence[int] = (IGNORE_LABEL,),
) -> None:
    """Register a folder of videos with detectron2, under a name to put in DATASETS.

    A frame without a mask is a frame without labels: the targets of training clips are labelled
    frames, other frames carry no loss, and evaluation scores the labelled ones.

    Args:
        name: the name.
        root: the folder; ``~`` is expanded.
        classes: K names, 1 to 255.
        is_train: True for records of videos, to put in DATASETS.TRAIN; False for records of frames,
            to put in DATASETS.TEST. They are those of ``load_vspw``.
        videos: names of the dataset's videos; or a file with one per line, relative to ``root``; by
            default all, in natural order.
        frames: path of a frame below ``root``, with ``{video}`` and ``{frame}`` for their names,
            such as "JPEGImages/480p/{video}/{frame}.jpg". Without a suffix: .jpg, .jpeg and .png.
            Without ``{video}``: one video, with the name of ``root``.
        masks: path of a frame's mask, in the same way; without a suffix: .png. None: no labels.
        colors: (R, G, B) of every class, 0..255; by default VOC's colour map.
        label_mapping: value in the masks -> name or index of its class; by default value k is
            class k. Several values may be of one class.
        void: values that mean "no class". Values that stand neither here nor in ``label_mapping``
            count as void too, with a warning.

    Raises:
        ValueError: an argument is not what it should be.
    """
    arguments = {
        "root": root,
        "classes": classes,
        "is_train": is_train,
        "videos": videos,
        "frames": frames,
        "masks": masks,
        "colors": colors,
        "label_mapping": label_mapping,
        "void": void,
    }
    _register(check_arguments(name, arguments))


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
    try:
        folders = [
            _from_yaml(name, arguments, file.parent) for name, arguments in _read_yaml(file).items()
        ]
        for folder in folders:
            if folder.name in DatasetCatalog and _registered.get(folder.name) != folder:
                raise ValueError(
                    f"{folder.name}: a dataset of this name is registered already, and it is "
                    "another one. Choose another name"
                )
    except ValueError as error:
        raise ValueError(f"{file}: {error}. datasets/README.md shows an example.") from error
    for folder in folders:
        if folder.name not in DatasetCatalog:
            _register(folder)
    return [folder.name for folder in folders]


def find_videos(folder: VideoFolder) -> tuple[list[str], Files, Files]:
    """Names of a folder's videos, in order; their frames; and their masks.

    Raises:
        FileNotFoundError: the folder, the list, every frame or every mask is missing, or all
            frames of a video that is listed.
        ValueError: two files are the same frame or the same mask, or no file may be named as one is
            (see ``fault_of_name``).
    """
    if not folder.root.is_dir():
        raise FileNotFoundError(
            f"{folder.root}: there is no such folder. It is the root of dataset {folder.name}."
        )
    videos = _listed_videos(folder)
    frames, masks = _find_files(folder, videos)
    if videos is None:
        videos = sorted(frames, key=natural_order)
    elif missing := [video for video in videos if video not in frames]:
        raise FileNotFoundError(
            f"{folder.root}: {len(missing)} of the {len(videos)} videos of dataset {folder.name} "
            f"have no frames {folder.frames}: {some(missing)}."
        )
    return videos, frames, masks


def load_video_folder(folder: VideoFolder) -> list[dict[str, Any]]:
    """Records of a folder of videos, as ``load_vspw`` gives them.

    Raises:
        FileNotFoundError, ValueError: those of ``find_videos``.
        ValueError: a mask is of no frame.
    """
    videos, frames, masks = find_videos(folder)
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
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        records = list(
            pool.map(lambda video: _record(video, frames[video], masks.get(video, {})), videos)
        )
    logger.info(
        "Dataset %s: %d video(s), %d frames, %d of them with masks",
        folder.name,
        len(records),
        sum(len(frames[video]) for video in videos),
        sum(len(masks.get(video, {})) for video in videos),
    )
    return records_of(records, folder.is_train)


def _register(folder: VideoFolder) -> None:
    register_videos(
        folder.name,
        functools.partial(load_video_folder, folder),
        classes=folder.classes,
        colors=folder.colors,
        label_mapping=folder.label_mapping,
    )
    _registered[folder.name] = folder


def _read_yaml(file: Path) -> dict[str, dict[str, Any]]:
    """Dataset name -> arguments."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file of video folders.")
    yaml = import_library("yaml", "DATASETS.VIDEO_FOLDERS")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"this is not YAML ({error}). Paths with braces want quotes") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError("expected the names of datasets, and under each its keys")
    return {str(name): arguments for name, arguments in content.items()}


def _from_yaml(name: str, arguments: dict[str, Any], folder: Path) -> VideoFolder:
    root = arguments.get("root")
    if isinstance(root, str):
        arguments = arguments | {"root": folder / Path(root).expanduser()}
    return check_arguments(name, arguments)


def _listed_videos(folder: VideoFolder) -> list[str] | None:
    if not isinstance(folder.videos, Path):
        return None if folder.videos is None else list(folder.videos)
    file = folder.root / folder.videos
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: there is no such file. It lists the videos of dataset {folder.name}, one per "
            "line."
        )
    return list(read_list(file).values())


def _find_files(folder: VideoFolder, videos: Sequence[str] | None) -> tuple[Files, Files]:
    """The frames and the masks of a folder."""
    wanted = None if videos is None else frozenset(videos)
    frames = folder.frames.find(folder.root, wanted)
    if folder.masks is None:
        return _by_video(folder, "frames", folder.frames, frames), {}
    masks = folder.masks.find(folder.root, wanted)
    # A file may be like both, as a_mask.png is like "{frame}.png" too: the longer format tells.
    both = {match.file for match in frames} & {match.file for match in masks}
    if len(folder.frames.text) < len(folder.masks.text):
        frames = [match for match in frames if match.file not in both]
    else:
        masks = [match for match in masks if match.file not in both]
    return (
        _by_video(folder, "frames", folder.frames, frames),
        _by_video(folder, "masks", folder.masks, masks),
    )


def _by_video(
    folder: VideoFolder, key: str, path_format: PathFormat, matches: Sequence[Match]
) -> Files:
    if not matches:
        advice = "" if key == "frames" else " If the dataset has no labels, it is null (None)."
        raise FileNotFoundError(
            f"{folder.root}: dataset {folder.name} has no {key}: there is no file like "
            f"{path_format}. Correct `{key}`.{advice}"
        )
    files: Files = {}
    for file, video, frame in sorted(matches):
        video = video if path_format.has_video else folder.root.absolute().name
        if fault := fault_of_name(f"{video}/{frame}"):
            raise ValueError(
                f"{str(file)!r}: its name {fault}, and files are named after it. Expected "
                f"{EXPECTED_NAME}. Rename it."
            )
        of_video = files.setdefault(video, {})
        if frame in of_video:
            raise ValueError(
                f"{of_video[frame]} and {file.name} are both frame {frame} of video {video}. Move "
                f"one away, or give `{key}` of dataset {folder.name} a suffix."
            )
        of_video[frame] = file
    return files


def _record(video: str, frames: dict[str, Path], masks: dict[str, Path]) -> dict[str, Any]:
    """The training record of a video."""
    names = sorted(frames, key=natural_order)
    pairs = [(frames[name], masks.get(name)) for name in names]
    return make_training_record(video, pairs, image_size(frames[names[0]]))
