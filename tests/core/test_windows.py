"""Windows and index tables: inverse pairs, and tables rebuilt from their definition."""

import pytest
import torch

from cffm_plugin.core.windows import (
    attention_table,
    merge_windows,
    neighbourhood_positions,
    pad_to_windows,
    partition_windows,
    relative_position_index,
    surrounding_positions,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(7, 7), (8, 13), (1, 20), (21, 14)])
def test_padding_keeps_the_map_and_appends_zeros(size):
    feature = torch.rand(2, *size, 3) + 1
    padded = pad_to_windows(feature, 7)
    assert padded.shape[1] % 7 == padded.shape[2] % 7 == 0
    assert padded.shape[1] - size[0] < 7 and padded.shape[2] - size[1] < 7
    assert torch.equal(padded[:, : size[0], : size[1]], feature)
    assert padded.count_nonzero() == feature.numel()


@pytest.mark.parametrize("window_size", [2, 5, 7])
def test_merging_is_the_inverse_of_partitioning(window_size):
    feature = torch.rand(2, 3 * window_size, 2 * window_size, 4)
    windows = partition_windows(feature, window_size)
    assert windows.shape == (2, 6, window_size**2, 4)
    assert torch.equal(merge_windows(windows, window_size, (3, 2)), feature)


def test_second_window_is_the_one_to_the_right():
    feature = torch.arange(2 * 4).view(1, 2, 4, 1)
    assert partition_windows(feature, 2)[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize("window_size, count", [(7, 132), (5, 64), (4, 48)])
def test_surroundings_are_the_ring_around_an_inner_window(window_size, count):
    """Of an inner window: all positions within half a window of it, corners of rolls once each."""
    w, e = window_size, window_size // 2
    positions = surrounding_positions((3, 3), w)
    assert positions.shape == (9, count)
    rows, columns = positions[4] // (3 * w), positions[4] % (3 * w)
    own = (rows >= w) & (rows < 2 * w) & (columns >= w) & (columns < 2 * w)
    assert not own.any()
    ring = {
        (r, c)
        for r in range(w - e, 2 * w + e)
        for c in range(w - e, 2 * w + e)
        if not (w <= r < 2 * w and w <= c < 2 * w)
    }
    assert set(zip(rows.tolist(), columns.tolist())) == ring


def test_surroundings_wrap_at_the_border():
    w = 7
    positions = surrounding_positions((2, 3), w)
    rows = positions[0] // (3 * w)
    # The first row's windows look at the map's last rows, 14 rows in all.
    assert {11, 12, 13} <= set(rows.tolist())
    assert positions.min() >= 0 and positions.max() < 2 * w * 3 * w


def test_neighbourhood_is_centred_and_marks_what_lies_outside():
    index, inside = neighbourhood_positions((2, 3), tokens_per_side=2, kernel=3)
    width = 3 * 2
    for row in range(2):
        for column in range(3):
            window = row * 3 + column
            expected = [
                (2 * row + i) * width + 2 * column + j
                if 0 <= 2 * row + i < 4 and 0 <= 2 * column + j < 6
                else None
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            ours = [
                position if valid else None
                for position, valid in zip(index[window].tolist(), inside[window].tolist())
            ]
            assert ours == expected


def test_attention_table_has_289_tokens_and_masks_exactly_those_outside():
    index, mask = attention_table((12, 12), 7, 5, (1, 2, 3), (7, 5, 3), CPU)
    assert index.shape == mask.shape == (144, 49 + 132 + 25 + 49 + 25 + 9)
    bank = 144 * (49 + 1 + 1 + 4 + 9)
    assert index.min() >= 0 and index.max() < bank
    middle = 6 * 12 + 6  # far from every border
    assert (mask[middle] == 0).all()
    corner = mask[0, 181:206].view(5, 5)  # the pooled target around the first window
    assert (corner[2:, 2:] == 0).all() and torch.isinf(corner).sum() == 25 - 9


def test_relative_position_index_is_a_function_of_the_offset_alone():
    index = relative_position_index(7, 5)
    seen = {}
    for q in range(49):
        for k in range(25):
            offset = (q // 7 - k // 5, q % 7 - k % 5)
            assert seen.setdefault(offset, int(index[q, k])) == index[q, k]
    assert sorted(seen.values()) == list(range((7 + 5 - 1) ** 2))


def test_tables_made_in_inference_mode_serve_training_too():
    attention_table.cache_clear()
    with torch.inference_mode():
        index, mask = attention_table((2, 3), 7, 5, (1,), (3,), CPU)
    assert not any(table.is_inference() for table in (index, mask))
