"""Windows of a feature map, and which tokens a window may look at.

Feature maps are channels last, (B, H, W, C). A padded map has sides that are multiples of the
window's side w; its windows form a grid of nh x nw. Windows, the positions in them and the tokens
of a neighbourhood are numbered row by row.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_windows(feature: Tensor, window_size: int) -> Tensor:
    """Pad bottom and right with zeros: (B, H, W, C) -> (B, nh * w, nw * w, C)."""
    height, width = feature.shape[1:3]
    bottom, right = -height % window_size, -width % window_size
    if bottom == right == 0:
        return feature
    return F.pad(feature, (0, 0, 0, right, 0, bottom))


def partition_windows(feature: Tensor, window_size: int) -> Tensor:
    """Cut a padded map into windows: (B, nh * w, nw * w, C) -> (B, nh * nw, w * w, C).

    ``merge_windows`` is the inverse.
    """
    B, H, W, C = feature.shape
    w = window_size
    windows = feature.view(B, H // w, w, W // w, w, C).transpose(2, 3)
    return windows.reshape(B, (H // w) * (W // w), w * w, C)


def merge_windows(windows: Tensor, window_size: int, grid: tuple[int, int]) -> Tensor:
    """Put windows together again: (B, nh * nw, w * w, C) -> (B, nh * w, nw * w, C)."""
    B, C = windows.shape[0], windows.shape[-1]
    (nh, nw), w = grid, window_size
    return windows.view(B, nh, nw, w, w, C).transpose(2, 3).reshape(B, nh * w, nw * w, C)


def window_positions(grid: tuple[int, int], window_size: int) -> Tensor:
    """Index of every window's own positions in the flattened padded map: (nh * nw, w * w)."""
    (nh, nw), w = grid, window_size
    positions = torch.arange(nh * nw * w * w).view(1, nh * w, nw * w, 1)
    return partition_windows(positions, w).view(nh * nw, w * w)


def surrounding_positions(grid: tuple[int, int], window_size: int) -> Tensor:
    """Index, in the flattened padded map, of the positions around every window.

    The map is rolled by half a window towards each of the four corners, and of every window of a
    rolled map those positions are kept that lie outside the original window. The roll wraps at
    the map's border (CFFM, section 3.2; the ring of "fine" tokens).

    Returns:
        (nh * nw, 4 * (w^2 - (w - e)^2)) with e = w // 2; 132 positions where w = 7.
    """
    (nh, nw), w = grid, window_size
    e = w // 2
    positions = torch.arange(nh * nw * w * w).view(1, nh * w, nw * w, 1)
    groups = []
    for vertical in (-e, e):
        for horizontal in (-e, e):
            outside = torch.ones(w, w, dtype=torch.bool)
            rows = slice(None, w - e) if vertical < 0 else slice(e, None)
            columns = slice(None, w - e) if horizontal < 0 else slice(e, None)
            outside[rows, columns] = False
            rolled = torch.roll(positions, (vertical, horizontal), dims=(1, 2))
            groups.append(partition_windows(rolled, w)[0, :, outside.view(-1), 0])
    return torch.cat(groups, dim=1)


def neighbourhood_positions(
    grid: tuple[int, int], tokens_per_side: int, kernel: int
) -> tuple[Tensor, Tensor]:
    """The k x k pooled tokens around every window.

    Args:
        grid: nh, nw.
        tokens_per_side: p; the window in row r and column c holds p x p tokens of an
            (nh * p, nw * p) map, and its neighbourhood is centred on token (p * r, p * c).
        kernel: k, odd.

    Returns:
        index into the flattened token map, and whether the position lies inside the map (where it
        does not, the index is 0); both (nh * nw, k * k).
    """
    (nh, nw), p = grid, tokens_per_side
    reach = torch.arange(kernel) - kernel // 2
    rows = (torch.arange(nh) * p)[:, None] + reach  # (nh, k)
    columns = (torch.arange(nw) * p)[:, None] + reach  # (nw, k)
    rows = rows.view(nh, 1, kernel, 1).expand(nh, nw, kernel, kernel)
    columns = columns.view(1, nw, 1, kernel).expand(nh, nw, kernel, kernel)
    inside = (rows >= 0) & (rows < nh * p) & (columns >= 0) & (columns < nw * p)
    index = torch.where(inside, rows * (nw * p) + columns, 0)
    return index.reshape(nh * nw, -1), inside.reshape(nh * nw, -1)


AttentionTable = tuple[Tensor, Tensor | None]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be used under grad mode later
def attention_table(
    grid: tuple[int, int],
    window_size: int,
    target_kernel: int,
    reference_pools: tuple[int, ...],
    reference_kernels: tuple[int, ...],
    device: torch.device,
) -> AttentionTable:
    """Which tokens of the bank every window attends to.

    The bank holds, one after the other: all positions of the padded target, the target's tokens
    (one per window), the tokens of each reference, oldest first.

    Returns:
        index into the bank, (nh * nw, L) int64, in the order own window, surroundings, pooled
        target, references; and an additive mask of that shape, float32, -inf at tokens that lie
        outside the map (their index is any valid one), or None where no token does.
    """
    (nh, nw), w = grid, window_size
    indices = [window_positions(grid, w), surrounding_positions(grid, w)]
    inside = [torch.ones_like(index, dtype=torch.bool) for index in indices]
    start = nh * nw * w * w
    for pool, kernel in zip((1, *reference_pools), (target_kernel, *reference_kernels)):
        index, valid = neighbourhood_positions(grid, pool, kernel)
        indices.append(index + start)
        inside.append(valid)
        start += nh * nw * pool * pool
    index, valid = torch.cat(indices, dim=1), torch.cat(inside, dim=1)
    mask = torch.zeros(valid.shape).masked_fill(~valid, float("-inf"))
    return index.to(device), None if bool(valid.all()) else mask.to(device)


def relative_position_index(window_size: int, kernel: int) -> Tensor:
    """Entry of the bias table for every query position of a w x w window and key of a k x k group.

    Query (qi, qj) and key (ki, kj) share the entry of their offset,
    ``(qi - ki + k - 1) * (w + k - 1) + (qj - kj + k - 1)``.

    Returns:
        (w * w, k * k) int64, values in 0 .. (w + k - 1)^2 - 1.
    """
    offset = torch.arange(window_size)[:, None] - torch.arange(kernel) + kernel - 1  # (w, k)
    rows = offset.view(window_size, 1, kernel, 1)
    columns = offset.view(1, window_size, 1, kernel)
    index = rows * (window_size + kernel - 1) + columns
    return index.reshape(window_size**2, kernel**2)
