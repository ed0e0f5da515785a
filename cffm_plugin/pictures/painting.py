"""Pictures of label maps: colours, frames under a coat of colours, sheets of frames."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..libraries import OptionalLibrary

cv2 = OptionalLibrary("cv2", "Painting classes over frames")

VOID_COLOR = (0, 0, 0)
MARGIN = 6
TEXT_HEIGHT = 22
FONT_SIZE = 14
SWATCH = 14
COLUMN_COLOR = (32, 32, 32)
LONGEST_NAME = 22  # letters of a column: one long name would make it wide for all

Legend = Sequence[tuple[str, Sequence[int]]]  # names and red-green-blue
Font = ImageFont.FreeTypeFont


def colorize(labels: np.ndarray, colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Label map (H, W), classes 0..K-1 -> picture (H, W, 3) uint8, red-green-blue.

    Args:
        labels: values of K and above, void among them, become black.
        colors: K triples, red-green-blue, 0..255.
    """
    table = np.full((max(256, len(colors)), 3), VOID_COLOR, dtype=np.uint8)
    table[: len(colors)] = np.asarray(colors, dtype=np.uint8)
    return table[labels]


def classes_present(
    labels: np.ndarray, num_classes: int, shown: np.ndarray | None = None
) -> list[int]:
    """The classes, ascending, of a label map's pixels.

    Args:
        labels: (H, W); values of ``num_classes`` and above are no class.
        num_classes: K.
        shown: (H, W) bool: the pixels that count; by default all.
    """
    counted = labels if shown is None else labels[shown]
    counts = np.bincount(counted.reshape(-1), minlength=num_classes)
    return np.flatnonzero(counts[:num_classes]).tolist()


def overlay(
    frame: np.ndarray,
    labels: np.ndarray,
    colors: Sequence[Sequence[int]],
    *,
    opacity: float = 0.5,
    shown: np.ndarray | None = None,
) -> np.ndarray:
    """A frame under its label map: every pixel is blended with the colour of its class.

    Args:
        frame: (H, W, 3) uint8, red-green-blue.
        labels: (H, W); pixels with values of K and above, void among them, stay as they are.
        colors: K triples, red-green-blue, 0..255.
        opacity: of the colours, from 0, the frame, to 1, the colours alone.
        shown: (H, W) bool: where it is False, the frame stays as it is. By default True.

    Returns:
        (H, W, 3) uint8, red-green-blue.
    """
    colored = labels < len(colors)
    if shown is not None:
        colored &= shown
    blended = cv2.addWeighted(frame, 1 - opacity, colorize(labels, colors), opacity, 0)
    return np.where(colored[..., None], blended, frame)


def add_legend(picture: np.ndarray, legend: Legend) -> np.ndarray:
    """A legend over a darkened strip at a picture's foot, its text in proportion to the picture.

    Args:
        picture: (H, W, 3) uint8, red-green-blue.
        legend: name and colour of what the picture shows; of a legend that is higher than the
            picture, the last lines are missing.

    Returns:
        a new picture of the same size.
    """
    if not legend:
        return picture.copy()
    height, width = picture.shape[:2]
    font = _font(max(9, round(height / 32)))
    places = _place_legend(legend, font, width)
    strip_height = (_lines(places) * TEXT_HEIGHT + MARGIN / 2) * font.size / FONT_SIZE
    top = height - min(height, round(strip_height))
    darkened = picture.copy()
    darkened[top:] = darkened[top:] * 0.35
    image = Image.fromarray(darkened)
    _draw_legend(ImageDraw.Draw(image), legend, places, font, top=top, ink="white")
    return np.array(image)


def add_title(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture under a strip with a title, its text in proportion to the picture.

    Args:
        picture: (H, W, 3) uint8, red-green-blue.
        title: of one that is wider than the picture, the end is shown.

    Returns:
        (H + strip, W, 3) uint8; the strip is as high for all pictures of a height.
    """
    height, width = picture.shape[:2]
    size = max(11, round(height / 24))
    strip_height = 2 * round(TEXT_HEIGHT * size / FONT_SIZE / 2)
    strip = Image.new("RGB", (width, strip_height), COLUMN_COLOR)
    place = (MARGIN, strip_height / 2)
    text = fitted_text(title, size, width - 2 * MARGIN)
    ImageDraw.Draw(strip).text(place, text, fill="white", font=_font(size), anchor="lm")
    return np.vstack([np.array(strip), picture])


def legend_column(legend: Legend, names: tuple[str, ...], height: int) -> np.ndarray:
    """A legend to stand beside a picture, one line per entry.

    Args:
        legend: name and colour of what the picture shows; of more than there are lines, the last
            are counted. Names of more than 22 letters are shortened.
        names: all that the legend may have. They and the height alone make the width, so that
            all pictures of a video have one.
        height: of the picture.

    Returns:
        (height, width, 3) uint8, red-green-blue. The width is even.
    """
    font = _font(max(11, round(height / 40)))
    scale = font.size / FONT_SIZE
    num_lines = max(1, int((height / scale - MARGIN) / TEXT_HEIGHT))
    num_listed = len(legend) if len(legend) <= num_lines else num_lines - 1
    listed = [(_shortened(name), color) for name, color in legend[:num_listed]]
    image = Image.new("RGB", (_column_width(names, font), height), COLUMN_COLOR)
    draw = ImageDraw.Draw(image)
    left, top = 2 * MARGIN * scale, MARGIN / 2 * scale
    places = [(left, line) for line in range(len(listed))]
    _draw_legend(draw, listed, places, font, top=top, ink="white")
    if len(listed) < len(legend):
        y = top + (len(listed) * TEXT_HEIGHT + 3) * scale
        draw.text((left, y), _more(len(legend) - len(listed)), fill="white", font=font)
    return np.array(image)


def comparison_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    legend: Legend = (),
    title: str = "",
) -> Image.Image:
    """Pictures in a grid, with a title for each row and column and a legend of colours below.

    Args:
        rows: pictures (H, W, 3) uint8, red-green-blue, all of one size, as many in every row as
            there are column titles.
        row_titles, column_titles: texts beside and above.
        legend: name and colour of what the pictures show.
        title: a line above all.

    Raises:
        ValueError: titles and pictures do not match in number.
    """
    if len(rows) != len(row_titles) or any(len(row) != len(column_titles) for row in rows):
        raise ValueError("one title per row and one per column, and rows of one length")
    height, width = rows[0][0].shape[:2]
    font = _font(FONT_SIZE)
    left = MARGIN + max(int(font.getlength(title)) for title in row_titles) + MARGIN
    sheet_width = left + len(column_titles) * (width + MARGIN)
    places = _place_legend(legend, font, sheet_width)
    grid_top = TEXT_HEIGHT * (2 if title else 1)
    legend_top = grid_top + len(rows) * (height + MARGIN)
    size = (sheet_width, legend_top + _lines(places) * TEXT_HEIGHT + MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 3), title, fill="black", font=font)
    for column, text in enumerate(column_titles):
        x = left + column * (width + MARGIN)
        draw.text((x, grid_top - TEXT_HEIGHT + 3), text, fill="black", font=font)
    for r, (row, text) in enumerate(zip(rows, row_titles)):
        top = grid_top + r * (height + MARGIN)
        draw.text((MARGIN, top + height // 2 - 8), text, fill="black", font=font)
        for column, picture in enumerate(row):
            image = Image.fromarray(np.ascontiguousarray(picture))
            sheet.paste(image, (left + column * (width + MARGIN), top))
    _draw_legend(draw, legend, places, font, top=legend_top)
    return sheet


def fitted_text(text: str, font_size: int, width: float) -> str:
    """A text, or where it is wider than ``width`` pixels, its end after an ellipsis."""
    font = _font(font_size)
    while text.strip("…") and font.getlength(text) > width:
        text = f"…{text.lstrip('…')[1:]}"
    return text


@lru_cache(maxsize=8)
def _font(size: int) -> Font:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, Font)  # with a size it is
    return font


@lru_cache(maxsize=8)
def _column_width(names: tuple[str, ...], font: Font) -> int:
    scale = font.size / FONT_SIZE
    widths = [(SWATCH + 5) * scale + font.getlength(_shortened(name)) for name in names]
    widest = max([font.getlength(_more(len(names))), *widths])
    return 2 * ceil((widest + 4 * MARGIN * scale) / 2)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _more(count: int) -> str:
    return f"+ {count} more"


def _place_legend(legend: Legend, font: Font, width: int) -> list[tuple[float, int]]:
    """(x, line) of every entry, wrapped to the picture's width, in proportion to the font."""
    places = []
    scale = font.size / FONT_SIZE
    margin = MARGIN * scale
    x, line = margin, 0
    for name, _ in legend:
        entry_width = (SWATCH + 5) * scale + int(font.getlength(name)) + 3 * margin
        if x > margin and x + entry_width > width:
            x, line = margin, line + 1
        places.append((x, line))
        x += entry_width
    return places


def _lines(places: Sequence[tuple[float, int]]) -> int:
    return places[-1][1] + 1 if places else 0


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    legend: Legend,
    places: Sequence[tuple[float, int]],
    font: Font,
    *,
    top: float,
    ink: str = "black",
) -> None:
    """Squares and names, at places of ``_place_legend``."""
    scale = font.size / FONT_SIZE
    for (name, color), (x, line) in zip(legend, places):
        y = top + line * TEXT_HEIGHT * scale
        square = (x, y + 4 * scale, x + SWATCH * scale, y + (4 + SWATCH) * scale)
        draw.rectangle(square, fill=tuple(color), outline=ink)
        draw.text((x + (SWATCH + 5) * scale, y + 3 * scale), name, fill=ink, font=font)
