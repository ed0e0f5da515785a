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

from PIL import Image, UnidentifiedImageError

from cffm_plugin.data import image_size

NAMED_IN_MESSAGES = 5
_THREADS = 16  # reading folders and headers is waiting, most of all on network disks

MISSING_VIDEO = "video(s) without any prediction"
MISSING = "missing prediction(s)"
EXTRA_VIDEO = "folder(s) that are no video of the split"
EXTRA = "PNG(s) that are no frame of the split"
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
        ValueError: a mask is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of predictions.")
    with ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(partial(_inspect, folder), videos))
    problems = Problems()
    for _, found in results:
        problems.update(found)
    known = {video["video_id"] for video in videos}
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in known:
            problems.add(EXTRA_VIDEO, entry.name)
    problems.add(EXTRA, *sorted(_pngs(folder)))
    return [video for video, _ in results], problems


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - NAMED_IN_MESSAGES
    return ", ".join(names[:NAMED_IN_MESSAGES]) + (f" and {more} more" if more > 0 else "")


def size_mismatch(prediction: Path, size: Sequence[int], mask_size: Sequence[int]) -> str:
    """A prediction's name with its (height, width) and its mask's."""
    sizes = "{}x{}, mask {}x{}".format(*size, *mask_size)
    return f"{prediction.parent.name}/{prediction.name} ({sizes})"


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
        path = folder / video_id / name
        usable = mask is not None and name in present and _fits(path, mask, problems)
        predictions.append(path if usable else None)
    return PredictedVideo(video_id, masks, tuple(predictions)), problems


def _fits(prediction: Path, mask: str, problems: Problems) -> bool:
    """Whether a prediction is an index PNG of its mask's size, by the headers; notes if not."""
    name = f"{prediction.parent.name}/{prediction.name}"
    try:
        with Image.open(prediction, formats=("PNG",)) as image:
            mode, (width, height) = image.mode, image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        problems.add(UNREADABLE, f"{name} (damaged, or no PNG)")
        return False
    if mode not in ("L", "P", "1"):
        problems.add(UNREADABLE, f"{name} (mode {mode})")
        return False
    mask_size = image_size(mask)
    if (height, width) != mask_size:
        problems.add(WRONG_SIZE, size_mismatch(prediction, (height, width), mask_size))
        return False
    return True


def _pngs(folder: Path) -> set[str]:
    """Names of the visible PNG files in a folder; none if there is no such folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {name for name in names if name.lower().endswith(".png") and not name.startswith(".")}
