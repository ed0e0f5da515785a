"""A clip on one sheet: frames in order, the labels over them, and maybe what a model says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .painting import (
    FONT_SIZE,
    VOID_COLOR,
    Legend,
    classes_present,
    comparison_sheet,
    fitted_text,
    overlay,
)

SMALLEST_WIDTH, LARGEST_WIDTH = 160, 400  # of a frame on the sheet, in pixels
STRIPE = 4  # width of void's stripes, in pixels
NOTHING_COLOR = 224  # of the place of a map that there is none of


def clip_sheet(
    clip: Mapping[str, Any],
    classes: Legend,
    *,
    image_format: str = "RGB",
    predictions: Mapping[str, Sequence[np.ndarray | None]] | None = None,
) -> Image.Image:
    """A clip as a model is trained on it: a column per frame, in the clip's order.

    Above each frame stands its file's name and how many frames it is from the target; in a clip
    that was drawn reversed in time, references come after it, such as +3. The rows are the frames,
    their labels, and one for each prediction. Void is striped black and white; a frame without
    labels or prediction has an empty place. Small frames are enlarged, large ones shrunk.

    Args:
        clip: of ``ClipMapper`` for training: ``image``, T tensors (3, h, w), 0..255, and
            ``sem_seg``, T tensors (h, w) or None; ``video_id``, ``file_names`` and
            ``frame_indices`` where there are any.
        classes: name and colour, red-green-blue, of every class.
        image_format: channel order of the tensors, "RGB" or "BGR".
        predictions: name of a row -> T label maps (h, w), None where there is none.

    Raises:
        ValueError: a row has another length than the clip.
    """
    frames = [_as_picture(image, image_format) for image in clip["image"]]
    labels = [None if label is None else label.numpy() for label in clip["sem_seg"]]
    maps = {"labels": labels} | {name: list(row) for name, row in (predictions or {}).items()}
    if any(len(row) != len(frames) for row in maps.values()):
        raise ValueError(f"the clip has {len(frames)} frames, and so must every row")
    colors = [color for _, color in classes]
    rows = [
        frames,
        *([_painted(*pair, colors) for pair in zip(frames, row)] for row in maps.values()),
    ]
    rows = [[_resized(picture) for picture in row] for row in rows]
    width = rows[0][0].shape[1]
    return comparison_sheet(
        rows,
        row_titles=["frames", *maps],
        column_titles=[fitted_text(title, FONT_SIZE, width) for title in _titles(clip)],
        legend=_legend(maps.values(), classes),
        title=f"video {clip['video_id']}" if "video_id" in clip else "",
    )


def _as_picture(image: Any, image_format: str) -> np.ndarray:
    """(3, h, w) tensor, 0..255 -> (h, w, 3) uint8, red-green-blue."""
    picture = image.float().round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(picture if image_format == "RGB" else picture[..., ::-1])


def _painted(
    frame: np.ndarray, labels: np.ndarray | None, colors: Sequence[Sequence[int]]
) -> np.ndarray:
    if labels is None:
        return np.full_like(frame, NOTHING_COLOR)
    painted = overlay(frame, labels, colors, opacity=0.7)
    rows, columns = np.indices(labels.shape)
    is_white = (rows + columns) // STRIPE % 2 == 1
    stripes = np.where(is_white, np.uint8(255), np.uint8(0))[:, :, None]
    return np.where((labels >= len(colors))[:, :, None], stripes, painted)


def _resized(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width < SMALLEST_WIDTH:
        factor = -(-SMALLEST_WIDTH // width)
        return picture.repeat(factor, 0).repeat(factor, 1)
    if width > LARGEST_WIDTH:
        size = LARGEST_WIDTH, max(1, round(height * LARGEST_WIDTH / width))
        return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    return picture


def _titles(clip: Mapping[str, Any]) -> list[str]:
    """Of the columns: "00000012 (-3)", and "00000015 (target)" for the last."""
    count = len(clip["image"])
    files = clip.get("file_names", [f"{index}" for index in range(count)])
    indices = clip.get("frame_indices")
    titles = []
    for i, file in enumerate(files):
        where = "target" if i == count - 1 else ""
        if not where and indices is not None:
            where = f"{indices[i] - indices[-1]:+d}"
        titles.append(f"{Path(file).stem} ({where})" if where else Path(file).stem)
    return titles


def _legend(rows: Any, classes: Legend) -> Legend:
    maps = [labels for row in rows for labels in row if labels is not None]
    shown = {k for labels in maps for k in classes_present(labels, len(classes))}
    legend = [classes[k] for k in sorted(shown)]
    if any((labels >= len(classes)).any() for labels in maps):
        legend.append(("void (striped)", VOID_COLOR))
    return legend
