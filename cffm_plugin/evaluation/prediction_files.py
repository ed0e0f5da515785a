"""Which PNGs a folder of predictions holds for a dataset's frames, and what is wrong with it.

Layout: ``<folder>/<video>/<frame>.png``, one channel, as ``VSPWEvaluator`` saves them under
``result_submission``. Everything here reads folders and headers, no pixels.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cffm_plugin.data import (
    MASK_FORMATS,
    TooLargeError,
    check_name,
    image_size,
    link_out_of,
    opened_image,
)

from .numbering import NamedVideo, OtherNames, by_number, in_order, other_names

NAMED_IN_MESSAGES = 5
_THREADS = 16  # reading folders and headers is waiting, most of all on network disks

MISSING_VIDEO = "video(s) without any prediction"
MISSING = "missing prediction(s)"
EXTRA_VIDEO = "folder(s) that are no video of the split"
EXTRA = "PNG(s) that are no frame of the split"
LINK = "link(s) that lead out of the folder (copy what they lead to)"
WRONG_SIZE = "prediction(s) of another size than the mask (height x width)"
UNREADABLE = "file(s) that are not an index PNG (8 bits or fewer, one channel)"


@dataclass(frozen=True)
class PredictedVideo:
    """One video of the dataset and its predictions.

    Attributes:
        video_id: its name.
        masks: mask file of each of its L frames, None without ground truth.
        predictions: prediction of each frame; None where there is none to score.
    """

    video_id: str
    masks: tuple[str | None, ...]
    predictions: tuple[Path | None, ...]


@dataclass
class Problems:
    """What is wrong with a folder of predictions: kind, one of this module's names -> files."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, *names: str) -> None:
        """Note files of one kind."""
        if names:
            self.found.setdefault(kind, []).extend(names)

    def update(self, other: "Problems") -> None:
        """Note all that the other one holds."""
        for kind, names in other.found.items():
            self.add(kind, *names)

    def __bool__(self) -> bool:
        return bool(self.found)

    def __str__(self) -> str:
        """One line per kind: how many, and the first few by name."""
        return "\n".join(f"  {len(n)} {kind}: {some(n)}" for kind, n in self.found.items())


@dataclass(frozen=True)
class Matching:
    """Which prediction is of which frame.

    Attributes:
        frame_offset: None where names are equal; otherwise the prediction of number n is of the
            frame of number n + ``frame_offset``, whatever else stands in their names.
        in_order: the predictions of a video are its frames', or its labelled frames', in order.
    """

    frame_offset: int | None = None
    in_order: bool = False

    def __post_init__(self) -> None:
        if self.in_order and self.frame_offset is not None:
            raise ValueError("frame_offset and in_order are two ways of matching; choose one")

    @property
    def by_name(self) -> bool:
        return self.frame_offset is None and not self.in_order

    def files(self, video: NamedVideo) -> dict[str, str]:
        """Stem of a frame -> file name of its prediction, where there is one."""
        if self.in_order:
            return in_order(video) if video.files else {}
        if self.frame_offset is not None:
            return by_number(video, self.frame_offset)
        return {f: name for f in video.frames if (name := f"{f}.png") in video.files}


def find_predictions(
    folder: Path, videos: Sequence[Mapping[str, Any]], matching: Matching = Matching()
) -> tuple[list[PredictedVideo], Problems, OtherNames | None]:
    """Match a folder of predictions with a dataset.

    Args:
        folder: the predictions.
        videos: the dataset, one record per video as ``load_vspw(..., is_train=True)`` gives them.
        matching: which prediction is of which frame.

    Returns:
        Every video, with those of its predictions that can be scored; what is wrong; and where
        names are the frames' and some are no frame's, what explains that, if anything does.

    Raises:
        FileNotFoundError: there is no such folder, or a mask is gone.
        ValueError: a mask is damaged, a video's name leads out of the folder, or ``matching`` does
            not match.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of predictions.")
    for video in videos:
        check_name(video["video_id"], "Video")
    with ThreadPoolExecutor(_THREADS) as pool:
        named = list(pool.map(partial(_named, folder), videos))
        explanation = other_names(named) if matching.by_name else None
        results = list(pool.map(partial(_inspect, folder, matching), videos, named))
    problems = Problems()
    for _, found in results:
        problems.update(found)
    _note_extra(folder, {video["video_id"] for video in videos}, problems)
    return [video for video, _ in results], problems, explanation


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMED_IN_MESSAGES
    return ", ".join(names[:NAMED_IN_MESSAGES]) + (f" and {more} more" if more > 0 else "")


def size_mismatch(name: str, size: Sequence[int], mask_size: Sequence[int]) -> str:
    """A prediction's name with its (height, width) and its mask's."""
    sizes = "{}x{}, mask {}x{}".format(*size, *mask_size)
    return f"{name} ({sizes})"


def _note_extra(folder: Path, videos: set[str], problems: Problems) -> None:
    """Note the folders that are no video, and the PNGs beside them. Videos may be in folders."""
    parents = {str(parent) for video in videos for parent in Path(video).parents}
    for parent in sorted(parents):
        if not (folder / parent).is_dir():
            continue
        for entry in sorted(os.scandir(folder / parent), key=lambda e: e.name):
            name = str(Path(parent) / entry.name)
            is_known = name in videos or name in parents or entry.name.startswith(".")
            if entry.is_dir() and not is_known:
                problems.add(EXTRA_VIDEO, name)
        if parent not in videos:
            beside = sorted(_pngs(folder / parent))
            problems.add(EXTRA, *(str(Path(parent) / name) for name in beside))


def _named(folder: Path, video: Mapping[str, Any]) -> NamedVideo:
    """What a video's frames and predictions are called."""
    return NamedVideo(
        video["video_id"],
        tuple(Path(frame["file_name"]).stem for frame in video["frames"]),
        tuple(frame["sem_seg_file_name"] is not None for frame in video["frames"]),
        tuple(sorted(_pngs(folder / video["video_id"]))),
    )


def _inspect(
    folder: Path, matching: Matching, video: Mapping[str, Any], named: NamedVideo
) -> tuple[PredictedVideo, Problems]:
    """Match the predictions of one video. Frames without ground truth need none."""
    video_id = named.video_id
    files = matching.files(named)
    masks = tuple(frame["sem_seg_file_name"] for frame in video["frames"])
    problems = Problems()
    missing = [f"{f}.png" for f, mask in zip(named.frames, masks) if mask and f not in files]
    if missing and not named.files:
        problems.add(MISSING_VIDEO, f"{video_id} ({len(missing)} frames)")
    else:
        problems.add(MISSING, *(f"{video_id}/{name}" for name in missing))
    extra = sorted(set(named.files) - set(files.values()))
    problems.add(EXTRA, *(f"{video_id}/{name}" for name in extra))
    predictions: list[Path | None] = []
    for frame, mask in zip(named.frames, masks):
        name = f"{video_id}/{files.get(frame)}"
        usable = mask is not None and frame in files
        if usable and link_out_of(folder, name):
            problems.add(LINK, name)
            usable = False
        fits = usable and mask is not None and _fits(folder, name, mask, problems)
        predictions.append(folder / name if fits else None)
    return PredictedVideo(video_id, masks, tuple(predictions)), problems


def _fits(folder: Path, name: str, mask: str, problems: Problems) -> bool:
    """Whether a prediction is an index PNG of its mask's size, by the headers; notes if not."""
    try:
        with opened_image(folder / name, "an index PNG", MASK_FORMATS) as image:
            mode, (width, height) = image.mode, image.size
    except (OSError, ValueError) as error:
        if not (folder / name).is_file():
            reason = "no regular file"
        else:
            reason = "too large" if isinstance(error, TooLargeError) else "damaged, or no PNG"
        problems.add(UNREADABLE, f"{name} ({reason})")
        return False
    if mode not in ("L", "P", "1"):
        problems.add(UNREADABLE, f"{name} (mode {mode})")
        return False
    mask_size = image_size(mask)
    if (height, width) != mask_size:
        problems.add(WRONG_SIZE, size_mismatch(name, (height, width), mask_size))
        return False
    return True


def _pngs(folder: Path) -> set[str]:
    """Names of the visible PNG files in a folder; none if there is no such folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name for name in names if name.lower().endswith(".png") and not name.startswith(".")}
