"""Cutting maps into rectangles: by hand, and what holds for every cut."""

import pytest
import torch

from cffm_plugin.core.rectangles import cuts, partition

CPU = torch.device("cpu")


def cells_of(cut):
    """The cells of each rectangle, in order."""
    return [cells.tolist() for cells in cut.order.split(cut.lengths)]


def test_a_side_is_cut_at_the_shift_and_from_there_at_every_window():
    assert cuts(6, 3, 0) == [range(0, 3), range(3, 6)]
    assert cuts(9, 3, 1) == [range(0, 1), range(1, 4), range(4, 7), range(7, 9)]
    assert cuts(3, 3, 1) == [range(0, 1), range(1, 3)]  # one window: s and w - s


def test_plain_windows_are_read_row_by_row():
    """A map of 2 x 4 cells, windows of 2:   0 1 | 2 3
    4 5 | 6 7"""
    assert cells_of(partition(2, 4, 2, 0, CPU)) == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_shifted_windows_leave_narrow_ones_at_the_border_and_wrap_nothing():
    """The same map, cut after row 0, and after columns 0 and 2."""
    cut = partition(2, 4, 2, 1, CPU)
    assert cells_of(cut) == [[0], [3], [4], [7], [1, 2], [5, 6]]
    assert cut.rectangle_of_cell.tolist() == [0, 4, 4, 1, 2, 5, 5, 3]
    groups = list(cut.groups())
    assert [group.length for group in groups] == [1, 2]
    assert [group.rectangles for group in groups] == [slice(0, 4), slice(4, 6)]
    assert [group.cells for group in groups] == [slice(0, 4), slice(4, 8)]


@pytest.mark.parametrize("size", [(6, 6), (12, 18), (6, 24)])
@pytest.mark.parametrize("shift", [0, 1, 3, 5])
def test_every_cell_is_in_one_rectangle_and_finds_its_way_back(size, shift):
    cut = partition(*size, 6, shift, CPU)
    cells = torch.arange(size[0] * size[1])
    assert torch.equal(cut.order.sort().values, cells)
    assert torch.equal(cut.order[cut.inverse], cells)
    assert [group.cells.stop for group in cut.groups()][-1] == len(cells)
    for number, members in enumerate(cells_of(cut)):
        assert members == sorted(members)  # row by row
        assert set(cut.rectangle_of_cell[members].tolist()) == {number}


@pytest.mark.parametrize("size", [(5, 6), (6, 0), (12, 7)])
def test_a_map_that_is_not_of_whole_windows_is_an_error(size):
    with pytest.raises(ValueError, match=f"whole windows of 6x6 cells, got {size[0]}x{size[1]}"):
        partition(*size, 6, 3, CPU)
