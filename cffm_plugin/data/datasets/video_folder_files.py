"""The files of a folder of videos: which are frames, which masks, and which match nothing."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...errors import some
from ..file_names import EXPECTED_NAME, fault_of_name
from .path_format import Match, PathFormat
from .records import IMAGE_SUFFIXES, Note, Problem, natural_order, read_list, visible_files
from .video_folder_arguments import ANNOTATION_SUFFIXES, NO_MASKS, VideoFolderSpec

Files = dict[str, dict[str, Path]]  # video -> name of a frame -> file


def find_videos(folder: VideoFolderSpec) -> tuple[list[str], Files, Files]:
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
    _check_parting(folder, frames)
    if videos is None:
        videos = sorted(frames, key=natural_order)
    elif missing := [video for video in videos if video not in frames]:
        raise FileNotFoundError(
            f"{folder.root}: {len(missing)} of the {len(videos)} videos of dataset {folder.name} "
            f"have no frames {folder.frames}: {some(missing)}."
        )
    return videos, frames, masks


def note_unmatched(folder: VideoFolderSpec, frames: Files, masks: Files, note: Note) -> None:
    """Note the images that lie where frames or masks do and are like neither format."""
    formats = {"frame": folder.frames, "mask": folder.masks}
    places: dict[Path, set[str]] = {}
    for role, files in (("frame", frames), ("mask", masks)):
        for place in {file.parent for by_frame in files.values() for file in by_frame.values()}:
            places.setdefault(place, set()).add(role)
    images = {place: visible_files(place, IMAGE_SUFFIXES) for place in places}
    for role in formats:
        unmatched = sorted(
            place / name
            for place, roles in places.items()
            if role == min(roles)
            for name in images[place]
            if not any((of := formats[r]) and of.may_be(name) for r in roles)
        )
        if unmatched:
            error = ValueError(
                f"{folder.root}: {len(unmatched)} image(s) of dataset {folder.name} that lie among "
                f"the {role}s don't match `{role}s`, and are passed over: "
                f"{some(unmatched)}. If they belong there, write the format "
                "without a suffix, or rename them."
            )
            note(Problem(f"{role}_unmatched", tuple(unmatched), error, stops=False))


def _listed_videos(folder: VideoFolderSpec) -> list[str] | None:
    if not isinstance(folder.videos, Path):
        return None if folder.videos is None else list(folder.videos)
    file = folder.root / folder.videos
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: there is no such file. It lists the videos of dataset {folder.name}, one per "
            "line."
        )
    return list(read_list(file).values())


def _find_files(folder: VideoFolderSpec, videos: Sequence[str] | None) -> tuple[Files, Files]:
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


def _annotations(root: Path, masks: PathFormat) -> list[Path]:
    """Files of annotations where masks should be, or in the root."""
    text = re.sub(r"\.\w+$", "", masks.text)
    found = [match.file for match in PathFormat(text, ANNOTATION_SUFFIXES).find(root)]
    places = [root, *root.glob("annotations")]
    return found or [
        f for p in places for f in sorted(p.glob("*")) if f.suffix in ANNOTATION_SUFFIXES
    ]


def _by_video(
    folder: VideoFolderSpec, key: str, path_format: PathFormat, matches: Sequence[Match]
) -> Files:
    if not matches:
        advice = "" if key == "frames" else " If the dataset has no labels, it is null (None)."
        if key == "masks" and (others := _annotations(folder.root, path_format)):
            advice = f" There is {others[0]}, of annotations: {NO_MASKS}."
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
        by_frame = files.setdefault(video, {})
        if frame in by_frame:
            raise ValueError(
                f"{by_frame[frame]} and {file.name} are both frame {frame} of video {video}. Move "
                f"one away, or give `{key}` of dataset {folder.name} a suffix."
            )
        by_frame[frame] = file
    return files


def _check_parting(folder: VideoFolderSpec, frames: Files) -> None:
    """Refuse a format by which every file is a video of its own, where it need not be so."""
    if not folder.frames.parts_a_name or any(len(by_frame) > 1 for by_frame in frames.values()):
        return
    text = folder.frames.text.replace("{video}", "{video:short}")
    found = dataclasses.replace(folder.frames, text=text).find(folder.root)
    videos = Counter(match.video for match in found)
    if len(frames) > 1 and len(videos) < len(found):
        name, number = videos.most_common(1)[0]
        raise ValueError(
            f'{folder.root}: by frames: "{folder.frames.text}" each of the {len(frames)} frames of '
            f"dataset {folder.name} is a video of its own, such as {next(iter(frames))}: {{video}} "
            f"takes as much of a name as it can. {{video:short}} takes as little as it can, which "
            f"here gives {len(videos)} video(s), such as {name} of {number} frames: write frames: "
            f'"{text}", and {{video:short}} in masks too.'
        )
