"""What a model's label map gets marked with: where it is wrong, better, worse, or flickers.

(H, W) is a frame's size. Each kind of mark has a colour and a pattern of its own, so that they can
be told apart without seeing colours.
"""

from dataclasses import dataclass

import numpy as np

from ..data import IGNORE_LABEL


@dataclass(frozen=True)
class Mark:
    """A kind of mark.

    Attributes:
        code: its value in a map of marks, from 1.
        name: for CSS and scripts.
        meaning: for people.
        color: (R, G, B), 0..255.
    """

    code: int
    name: str
    meaning: str
    color: tuple[int, int, int]


# Okabe and Ito's colours, which people with any colour vision can tell apart.
WRONG = Mark(1, "wrong", "wrong, and so is the baseline", (204, 121, 167))
WRONG_ALONE = Mark(1, "wrong", "wrong", (204, 121, 167))  # where there is one model only
WORSE = Mark(2, "worse", "wrong where the baseline is right", (213, 94, 0))
BETTER = Mark(3, "better", "right where the baseline is wrong", (86, 180, 233))
OTHER = Mark(4, "other", "unlike the baseline, on a frame without truth", (240, 228, 66))
FLICKERS = Mark(5, "flickers", "changed from the frame before, unlike the truth", (255, 225, 0))
MARKS = (WRONG, WORSE, BETTER, OTHER, FLICKERS)

_PERIOD = 6  # pixels, of the patterns


def difference(
    truth: np.ndarray | None, prediction: np.ndarray, baseline: np.ndarray | None
) -> np.ndarray:
    """Codes of marks, (H, W) uint8, 0 for none: void is not marked, nor what is right in both.

    Args:
        truth: (H, W) classes, void 255; None where a frame has no labels.
        prediction: (H, W) classes of the model.
        baseline: (H, W) classes of the baseline; None for the baseline itself.
    """
    codes = np.zeros(prediction.shape, np.uint8)
    if truth is None:
        if baseline is not None:
            codes[prediction != baseline] = OTHER.code
        return codes
    labelled = truth != IGNORE_LABEL
    wrong = labelled & (prediction != truth)
    codes[wrong] = WRONG.code
    if baseline is not None:
        baseline_is_right = labelled & (baseline == truth)
        codes[wrong & baseline_is_right] = WORSE.code
        codes[labelled & ~wrong & ~baseline_is_right] = BETTER.code
    return codes


def flicker(
    truths: tuple[np.ndarray | None, np.ndarray | None],
    predictions: tuple[np.ndarray | None, np.ndarray | None],
) -> np.ndarray | None:
    """Codes of marks, (H, W) uint8: where a prediction changed and the truth, a class, did not.

    These are the pixels that the report's flicker counts.

    Args:
        truths, predictions: (H, W) classes of the frame before and of this one; None where there
            are none.

    Returns:
        None where one of the four is missing: there is nothing to say then.
    """
    maps = [labels for labels in (*truths, *predictions) if labels is not None]
    if len(maps) < 4:
        return None
    truth_before, truth, before, now = maps
    same = (truth == truth_before) & (truth != IGNORE_LABEL)
    return np.where(same & (before != now), np.uint8(FLICKERS.code), np.uint8(0))


def paint(codes: np.ndarray) -> np.ndarray:
    """Codes of marks, (H, W) -> (H, W, 4) uint8 red-green-blue-alpha, each in its pattern.

    Transparent where there is no mark. Of a mark's pixels those of the pattern are darkened.
    """
    table = np.zeros((256, 4), np.uint8)
    for mark in MARKS:
        table[mark.code] = (*mark.color, 235)
    picture = table[codes]
    for mark in MARKS:
        dark = (codes == mark.code) & _pattern(mark, codes.shape)
        picture[dark] = (*(channel // 4 for channel in mark.color), 235)
    return picture


def _pattern(mark: Mark, size: tuple[int, ...]) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    patterns = {
        "wrong": (y % _PERIOD < 1) & (x >= 0),  # horizontal lines
        "worse": (x + y) % _PERIOD < 2,  # diagonal lines
        "better": (x % _PERIOD < 2) & (y % _PERIOD < 2),  # dots
        "other": (x % _PERIOD < 1) & (y >= 0),  # vertical lines
        "flickers": (x // 2 + y // 2) % 2 == 0,  # a chequer board
    }
    return patterns[mark.name]
