"""Maps cut into rectangles, whose cells are sequences of their own (TV3S, section 3)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Group(NamedTuple):
    """Rectangles that have equally many cells, and so go together.

    Attributes:
        rectangles: which of all of them.
        cells: where theirs stand among the cells in the partition's order.
        length: how many cells each has.
    """

    rectangles: slice
    cells: slice
    length: int


@dataclass(frozen=True)
class Partition:
    """Which cells of a map of H x W cells are in which of R rectangles.

    Attributes:
        order: the cells, numbered row by row, rectangle by rectangle, and row by row within each;
            (H * W,) int64.
        inverse: where each cell stands in ``order``; (H * W,) int64.
        rectangle_of_cell: (H * W,) int64.
        lengths: of each rectangle, how many cells; not descending.
    """

    order: Tensor
    inverse: Tensor
    rectangle_of_cell: Tensor
    lengths: tuple[int, ...]

    def groups(self) -> Iterator[Group]:
        """Those of each number of cells; they stand side by side."""
        cell = 0
        for length in sorted(set(self.lengths)):
            first, count = self.lengths.index(length), self.lengths.count(length)
            cells = slice(cell, cell + count * length)
            yield Group(slice(first, first + count), cells, length)
            cell = cells.stop


def cuts(side: int, window: int, shift: int) -> list[range]:
    """A side of whole windows, cut at ``shift`` and from there at every window.

    Nothing wraps: with a shift, the strips at both ends are narrower.
    """
    edges = [*range(shift, side, window), side]
    return [range(start, stop) for start, stop in zip([0, *edges], edges) if start < stop]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be used under grad mode later
def partition(height: int, width: int, window: int, shift: int, device: torch.device) -> Partition:
    """A map cut into windows, ``shift`` cells from the upper left corner.

    Args:
        height, width: of the map, in cells: whole windows.
        window: side of a window, in cells.
        shift: less than ``window``; 0 for the plain windows.
        device: of the tensors.

    Raises:
        ValueError: the map is not of whole windows.
    """
    if height % window or width % window or not height or not width:
        raise ValueError(
            f"expected a map of whole windows of {window}x{window} cells, got {height}x{width}"
        )
    rectangles = [
        [row * width + column for row in rows for column in columns]
        for rows in cuts(height, window, shift)
        for columns in cuts(width, window, shift)
    ]
    rectangles.sort(key=len)
    lengths = tuple(map(len, rectangles))
    order = torch.tensor([cell for cells in rectangles for cell in cells])
    inverse = order.argsort()
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))[inverse]
    return Partition(order.to(device), inverse.to(device), owner.to(device), lengths)
