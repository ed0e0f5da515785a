"""Affinities of a target's cells to the tokens of a past frame, and which tokens are kept.

Sun et al., "Mining Relations among Cross-Frame Affinities for Video Semantic Segmentation",
ECCV 2022. Pure functions. Affinities are laid out by token: each token is an image over the
target's cells.
"""

import torch
from torch import Tensor

from .label_maps import resize

Grid = tuple[int, int]


def affinities(query: Tensor, keys: Tensor) -> Tensor:
    """Dot products over all channels, neither scaled nor split into heads.

    Args:
        query: of the target's N cells, (B, N, C).
        keys: of a frame's n tokens, (B, n, C).

    Returns:
        (B, n, N).
    """
    return keys @ query.transpose(1, 2)


def resize_tokens(tokens: Tensor, grid: Grid, size: Grid) -> Tensor:
    """Values of tokens (B, n, D) on a grid of n cells -> on another, bilinear."""
    if grid == size:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid)  # (B, D, h, w)
    return resize(maps, size).flatten(2).transpose(1, 2)


@torch.no_grad()
def select_tokens(affinity: Tensor, grid: Grid, size: Grid, keep: float, cells: int) -> Tensor:
    """Selective token masking, STM: the tokens that some cells of the target resemble most.

    A token's score is the sum of its largest affinities. The choice has no gradient.

    Args:
        affinity: at the coarsest level, (B, n', N), in float32: near scores must not be swapped by
            rounding.
        grid: rows and columns of its n' tokens.
        size: of the n tokens to choose of. Scores are resized to it.
        keep: the share of tokens that is kept, rounded down, but one at least.
        cells: how many affinities a score is the sum of; all, where there are fewer.

    Returns:
        indices of the tokens that are kept, (B, s).
    """
    largest = affinity.topk(min(cells, affinity.shape[2]), dim=2).values
    score = resize_tokens(largest.sum(dim=2, keepdim=True), grid, size)[:, :, 0]
    return score.topk(max(1, int(score.shape[1] * keep)), dim=1).indices


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Tokens (B, n, D) and indices (B, s) -> the tokens that are kept, (B, s, D)."""
    return tokens.gather(1, indices[:, :, None].expand(-1, -1, tokens.shape[2]))


def aggregate(affinity: Tensor, values: Tensor) -> Tensor:
    """For every cell the mean of the tokens' values, by the softmax of its affinities.

    Args:
        affinity: (B, s, h, w).
        values: (B, s, C).

    Returns:
        (B, C, h, w).
    """
    weights = affinity.flatten(2).softmax(dim=1)  # (B, s, h * w)
    return (values.transpose(1, 2) @ weights).unflatten(2, affinity.shape[2:])
