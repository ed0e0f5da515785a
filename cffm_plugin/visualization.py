"""Pictures of label maps: colours, and sheets that show frames beside predictions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

VOID_COLOR = (0, 0, 0)
MARGIN = 6
TEXT_HEIGHT = 22


def colorize(labels: np.ndarray, colors: Sequence[Sequence[int]]) -> np.ndarray:
    """Label map (H, W), classes 0..K-1 -> picture (H, W, 3) uint8, red-green-blue.

    Args:
        labels: values of K and above, void among them, become black.
        colors: K triples, red-green-blue, 0..255.
    """
    table = np.full((256, 3), VOID_COLOR, dtype=np.uint8)
    table[: len(colors)] = np.asarray(colors, dtype=np.uint8)
    return table[labels]


def comparison_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    legend: Sequence[tuple[str, Sequence[int]]] = (),
) -> Image.Image:
    """Pictures in a grid, with a title for each row and column and a legend of colours below.

    Args:
        rows: pictures (H, W, 3) uint8, red-green-blue, all of one size, as many in every row as
            there are column titles.
        row_titles, column_titles: texts beside and above.
        legend: name and colour of what the pictures show.

    Raises:
        ValueError: titles and pictures do not match in number.
    """
    if len(rows) != len(row_titles) or any(len(row) != len(column_titles) for row in rows):
        raise ValueError("one title per row and one per column, and rows of one length")
    height, width = rows[0][0].shape[:2]
    font = ImageFont.load_default(size=14)
    left = MARGIN + max(int(font.getlength(title)) for title in row_titles) + MARGIN
    sheet_width = left + len(column_titles) * (width + MARGIN)
    entries = _place_legend(legend, font, sheet_width)
    legend_top = TEXT_HEIGHT + len(rows) * (height + MARGIN)
    legend_lines = entries[-1][1] + 1 if entries else 0
    size = (sheet_width, legend_top + legend_lines * TEXT_HEIGHT + MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(column_titles):
        draw.text((left + column * (width + MARGIN), 3), title, fill="black", font=font)
    for r, (row, title) in enumerate(zip(rows, row_titles)):
        top = TEXT_HEIGHT + r * (height + MARGIN)
        draw.text((MARGIN, top + height // 2 - 8), title, fill="black", font=font)
        for column, picture in enumerate(row):
            image = Image.fromarray(np.ascontiguousarray(picture))
            sheet.paste(image, (left + column * (width + MARGIN), top))
    for (name, color), (x, line) in zip(legend, entries):
        top = legend_top + line * TEXT_HEIGHT
        draw.rectangle((x, top + 4, x + 14, top + 18), fill=tuple(color), outline="black")
        draw.text((x + 19, top + 3), name, fill="black", font=font)
    return sheet


def _place_legend(
    legend: Sequence[tuple[str, Sequence[int]]],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> list[tuple[int, int]]:
    """(x, line) of every entry, wrapped to the sheet's width."""
    places = []
    x, line = MARGIN, 0
    for name, _ in legend:
        entry_width = 19 + int(font.getlength(name)) + 3 * MARGIN
        if x > MARGIN and x + entry_width > width:
            x, line = MARGIN, line + 1
        places.append((x, line))
        x += entry_width
    return places
