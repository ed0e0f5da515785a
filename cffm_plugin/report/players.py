"""The pictures of a video's player: sheets of frames, a file per layer and stretch of frames.

A player shows still pictures and no video: browsers seek in video files to about where they are
asked, each file on its own, and not all play H.264; pictures that are all decoded before one of
them is shown are in step by construction. What a page from the disk may not do, in Chromium and in
Firefox, is read the pixels of its pictures, so that all layers are painted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data import IGNORE_LABEL, LabelMapping, link_out_of, read_image, read_mask
from ..files import whole_file
from ..libraries import OptionalLibrary
from . import difference_marks
from .label_places import names_in

cv2 = OptionalLibrary("cv2", "Painting a report's pictures")

INPUT, TRUTH = "input", "truth"
INPUT_QUALITY = 70
_MOST_FRAMES = 16  # of a sheet
_MOST_PIXELS = 2_000_000  # of a sheet: four bytes each in the browser's memory, per layer
_MOST_ROWS = 16_000  # WebP has 16383
_NO_LABELS = (96, 60)  # greys of a hatching


@dataclass(frozen=True)
class PlayerJob:
    """What a player is painted from; plain data, for other processes.

    Attributes:
        video_id: the video.
        frames: frame and mask file of each frame, the mask None without labels.
        predictions: for each model its folder of predictions.
        mapping: of the masks.
        colors: K triples (R, G, B).
        one_based: predictions hold k + 1 for class k.
        partial: a prediction that is damaged or does not fit counts as missing.
        width: pictures are scaled down to be at most this wide.
        max_megapixels: larger images are an error.
    """

    video_id: str
    frames: tuple[tuple[str, str | None], ...]
    predictions: tuple[Path, ...]
    mapping: LabelMapping
    colors: tuple[tuple[int, int, int], ...]
    one_based: bool
    partial: bool
    width: int
    max_megapixels: float


@dataclass
class Player:
    """A player's pictures as they were written.

    Attributes:
        width, height: of a frame.
        frames_per_sheet: of every sheet but the last.
        layers: names of layers; ``<layer>-<sheet>.webp`` are their files, sheets counted from 0.
        names: layer -> for each frame (class, x, y) of the regions to write a class's name in.
        classes: those that appear, ascending.
        num_bytes: of all files.
    """

    width: int
    height: int
    frames_per_sheet: int
    layers: list[str] = field(default_factory=list)
    names: dict[str, list[list[tuple[int, int, int]]]] = field(default_factory=dict)
    classes: list[int] = field(default_factory=list)
    num_bytes: int = 0

    def data(self) -> dict[str, Any]:
        """For the page's script."""
        return {
            "width": self.width,
            "height": self.height,
            "perSheet": self.frames_per_sheet,
            "names": self.names,
            "classes": self.classes,
        }


@dataclass(frozen=True)
class _Frame:
    """Of one frame: picture (H, W, 3) and label maps (H, W), as they are in the files."""

    image: np.ndarray
    truth: np.ndarray | None
    predictions: list[np.ndarray | None]


def labels_layer(model: int) -> str:
    return f"labels{model}"


def difference_layer(model: int) -> str:
    return f"difference{model}"


def flicker_layer(model: int) -> str:
    return f"flicker{model}"


def write_player(job: PlayerJob, folder: Path) -> Player:
    """Paint all frames of a video into sheets in a folder.

    Raises:
        OSError, ValueError: a file can't be read, is damaged or of another size, or a sheet can't
            be written; the error names it.
    """
    player: Player | None = None
    sheet: dict[str, list[np.ndarray]] = {}
    before: _Frame | None = None
    for index, frame in enumerate(_frames(job)):
        if player is None:
            player = _empty_player(job, frame.image.shape[:2])
        size = player.height, player.width
        for layer, picture in _layers(job, before, frame, size):
            sheet.setdefault(layer, []).append(picture)
        _note_names(job, player, frame, size)
        before = frame
        if (index + 1) % player.frames_per_sheet == 0 or index + 1 == len(job.frames):
            player.num_bytes += _write_sheets(sheet, folder, index // player.frames_per_sheet)
            player.layers, sheet = list(sheet), {}
    assert player is not None  # videos have frames
    return player


def write_thumbnail(file_name: str, target: Path, width: int, max_megapixels: float) -> None:
    """A small picture of a frame, of this width."""
    image = read_image(file_name, max_megapixels)[:, :, ::-1]
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    with whole_file(target, durable=False) as partial:
        _webp(_scaled(image, (height, width)), partial, lossless=False)


def _empty_player(job: PlayerJob, size: tuple[int, ...]) -> Player:
    scale = min(1.0, job.width / size[1])
    height, width = (max(1, round(side * scale)) for side in size)
    per_sheet = min(_MOST_FRAMES, _MOST_ROWS // height, _MOST_PIXELS // (height * width))
    return Player(width, height, max(1, per_sheet))


def _frames(job: PlayerJob) -> Iterator[_Frame]:
    num_classes = job.mapping.num_classes
    from_one = LabelMapping.shifted_by_one(num_classes) if job.one_based else None
    for file_name, mask in job.frames:
        image = read_image(file_name, job.max_megapixels)[:, :, ::-1]
        truth = None if mask is None else job.mapping(job.mapping.read(mask, job.max_megapixels))
        predictions: list[np.ndarray | None] = []
        for folder in job.predictions:
            size = (image if truth is None else truth).shape[:2]
            stored = _prediction(job, folder, Path(file_name).stem, size)
            predictions.append(stored if from_one is None or stored is None else from_one(stored))
        yield _Frame(image, truth, predictions)


def _prediction(
    job: PlayerJob, folder: Path, frame: str, size: tuple[int, ...]
) -> np.ndarray | None:
    """(H, W) as stored; None where there is none. Scoring has seen to those that must be there."""
    name = f"{job.video_id}/{frame}.png"
    if not (folder / name).is_file() or link_out_of(folder, name):
        return None
    try:
        stored = read_mask(folder / name, job.max_megapixels)
        if stored.shape != size:
            sizes = "{}x{}, but its frame is {}x{}".format(*stored.shape, *size)
            raise ValueError(f"{folder / name}: the prediction is {sizes} (height x width).")
    except (ValueError, OSError):
        if job.partial:
            return None
        raise
    return stored


def _layers(
    job: PlayerJob, before: _Frame | None, frame: _Frame, size: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every layer's picture of a frame, of ``size``."""
    yield INPUT, _scaled(frame.image, size)
    yield TRUTH, _colored(job, frame.truth, size)
    baseline = frame.predictions[0]
    for model, prediction in enumerate(frame.predictions):
        yield labels_layer(model), _colored(job, prediction, size)
        codes = None
        if prediction is not None:
            codes = difference_marks.difference(
                frame.truth, prediction, baseline if model else None
            )
        yield difference_layer(model), _marked(codes, size)
        flicker = None
        if before is not None:
            truths = before.truth, frame.truth
            flicker = difference_marks.flicker(truths, (before.predictions[model], prediction))
        yield flicker_layer(model), _marked(flicker, size)


def _colored(job: PlayerJob, labels: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 4): black where there is no class, a grey hatching where there are no labels."""
    if labels is None:
        y, x = np.ogrid[: size[0], : size[1]]
        lines = (x + y) % 16 < 8
        grey = np.where(lines, np.uint8(_NO_LABELS[0]), np.uint8(_NO_LABELS[1]))
        return np.dstack([grey, grey, grey, np.full(size, 255, np.uint8)])
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    table[: len(job.colors), :3] = job.colors
    return table[_nearest(labels, size)]


def _marked(codes: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    return difference_marks.paint(
        np.zeros(size, np.uint8) if codes is None else _nearest(codes, size)
    )


def _note_names(job: PlayerJob, player: Player, frame: _Frame, size: tuple[int, int]) -> None:
    """Where in each label map of a frame the names of classes stand; and which there are."""
    maps = {TRUTH: frame.truth}
    maps |= {labels_layer(model): labels for model, labels in enumerate(frame.predictions)}
    present = set(player.classes)
    for layer, labels in maps.items():
        found = [] if labels is None else names_in(_nearest(labels, size), len(job.colors))
        player.names.setdefault(layer, []).append(found)
        if labels is not None:
            present.update(np.flatnonzero(np.bincount(labels.reshape(-1), minlength=256)).tolist())
    player.classes = sorted(k for k in present if k < len(job.colors) and k != IGNORE_LABEL)


def _scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_AREA)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if labels.shape == size:
        return labels
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


def _write_sheets(sheet: dict[str, list[np.ndarray]], folder: Path, number: int) -> int:
    """Their size in bytes."""
    num_bytes = 0
    for layer, pictures in sheet.items():
        path = folder / f"{layer}-{number}.webp"
        with whole_file(path, durable=False) as partial:
            _webp(np.concatenate(pictures), partial, lossless=layer != INPUT)
        num_bytes += path.stat().st_size
    return num_bytes


def _webp(picture: np.ndarray, path: Path, *, lossless: bool) -> None:
    image = Image.fromarray(np.ascontiguousarray(picture))
    quality = 50 if lossless else INPUT_QUALITY
    image.save(path, "WEBP", lossless=lossless, quality=quality, method=2)
