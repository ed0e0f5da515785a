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


def find_predictions(
    folder: Path, videos: Sequence[Mapping[str, Any]]
) -> tuple[list[PredictedVideo], Problems]:
    """Match a folder of predictions with a dataset.

    Args:
        folder: the predictions.
        videos: the dataset, one record per video as ``load_vspw(..., is_train=True)`` gives them.

    Returns:
        Every video, with those of its predictions that can be scored; and what is wrong.

    Raises:
        FileNotFoundError: there is no such folder, or a mask is gone.
        ValueError: a mask is damaged, or a video's name leads out of the folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of predictions.")
    for video in videos:
        check_name(video["video_id"], "Video")
    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(partial(_inspect, folder), videos))
    problems = Problems()
    for _, found in results:
        problems.update(found)
    _note_extra(folder, {video["video_id"] for video in videos}, problems)
    return [video for video, _ in results], problems


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


def _inspect(folder: Path, video: Mapping[str, Any]) -> tuple[PredictedVideo, Problems]:
    """Match the predictions of one video. Frames without ground truth need none."""
    video_id, frames = video["video_id"], video["frames"]
    present = _pngs(folder / video_id)
    names = [f"{Path(frame['file_name']).stem}.png" for frame in frames]
    masks = tuple(frame["sem_seg_file_name"] for frame in frames)
    problems = Problems()
    missing = [name for name, mask in zip(names, masks) if mask and name not in present]
    if missing and not present:
        problems.add(MISSING_VIDEO, f"{video_id} ({len(missing)} frames)")
    else:
        problems.add(MISSING, *(f"{video_id}/{name}" for name in missing))
    problems.add(EXTRA, *(f"{video_id}/{name}" for name in sorted(present - set(names))))
    predictions: list[Path | None] = []
    for name, mask in zip(names, masks):
        usable = mask is not None and name in present
        if usable and link_out_of(folder, f"{video_id}/{name}"):
            problems.add(LINK, f"{video_id}/{name}")
            usable = False
        fits = usable and mask is not None and _fits(folder, f"{video_id}/{name}", mask, problems)
        predictions.append(folder / video_id / name if fits else None)
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
