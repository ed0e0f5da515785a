"""How many pixels a cell of a feature map is wide, found out by trying."""

import math
from collections.abc import Mapping

# Four different sides, so that a patch of 14 pixels is told from one of 16: 4 cells of 64 pixels
# are either, 16 of 224 are one of them.
MEASURED_SIDES = (64, 224, 160, 96)
LARGEST_STRIDE = 64
HOW_TO_DIVIDE = (
    "Its maps would be stretched over the image. Let the backbone pad images itself, or say by its "
    "size_divisibility what their sides must be divisible by, such as 14 for patches of 14 pixels."
)


def sizes_to_measure(divisibility: int) -> list[tuple[int, int]]:
    """Heights and widths of images that a stride can be told from.

    Args:
        divisibility: what sides are brought to a multiple of; 0 for any.
    """
    unit = max(1, divisibility)
    sides: list[int] = []
    for side in MEASURED_SIDES:
        multiple = -(-side // unit) * unit
        while multiple in sides:  # four different ones, also of large units
            multiple += unit
        sides.append(multiple)
    return [(sides[0], sides[1]), (sides[2], sides[3])]


def stride_of(cells: Mapping[int, int]) -> int | None:
    """The stride with which every side has ``ceil(side / stride)`` cells; None where there is none.

    Args:
        cells: side in pixels -> its cells. A stride that divides the sides is preferred.
    """
    fitting = [
        stride
        for stride in range(1, LARGEST_STRIDE + 1)
        if all(math.ceil(side / stride) == found for side, found in cells.items())
    ]
    dividing = [s for s in fitting if all(side % s == 0 for side in cells)]
    return next(iter(dividing + fitting), None)


def in_words(cells: Mapping[int, int]) -> str:
    """As in "4 cells on 64 pixels, 16 on 224"."""
    (side, found), *others = sorted(cells.items())
    return ", ".join([f"{found} cells on {side} pixels", *(f"{c} on {s}" for s, c in others)])
