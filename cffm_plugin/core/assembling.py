"""Coarse-to-fine feature assembling, CFFA (CFFM, section 3.2): a frame -> tokens to look at."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WindowPooling(nn.Module):
    """Pools every window of a map to p x p tokens by a learned map over positions.

    Each token is a linear map, shared by all channels and windows, of a square cell of positions.
    Cells are floor(w / p) wide; where they do not fill the window, the map is first resized
    (bilinear) so that they do.

    Args:
        window_size: w.
        tokens_per_side: p, from 1 to w.
    """

    def __init__(self, window_size: int, tokens_per_side: int):
        super().__init__()
        if not 1 <= tokens_per_side <= window_size:
            raise ValueError(
                f"A window of side {window_size} pools to 1..{window_size} tokens a side, "
                f"got {tokens_per_side}"
            )
        self.window_size = window_size
        self.tokens_per_side = tokens_per_side
        self.cell_size = window_size // tokens_per_side
        self.weight = nn.Parameter(torch.empty(1, self.cell_size**2))
        self.bias = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as a mean."""
        nn.init.constant_(self.weight, 1.0 / self.cell_size**2)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return f"window_size={self.window_size}, tokens_per_side={self.tokens_per_side}"

    def forward(self, feature: Tensor) -> Tensor:
        """(B, nh * w, nw * w, C) -> (B, nh * p * nw * p, C), tokens row by row over the map."""
        B, H, W, C = feature.shape
        rows = H // self.window_size * self.tokens_per_side
        columns = W // self.window_size * self.tokens_per_side
        cell = self.cell_size
        if (rows * cell, columns * cell) != (H, W):
            feature = F.interpolate(
                feature.permute(0, 3, 1, 2),
                size=(rows * cell, columns * cell),
                mode="bilinear",
                align_corners=False,
            ).permute(0, 2, 3, 1)
        cells = feature.reshape(B, rows, cell, columns, cell, C)
        tokens = torch.einsum("brucvd,uv->brcd", cells, self.weight.view(cell, cell))
        return (tokens + self.bias).reshape(B, rows * columns, C)


class CoarseToFineAssembling(nn.Module):
    """The pooled tokens of the target and of each reference, coarser the farther in time.

    Args:
        window_size: side of a window, w.
        reference_pools: tokens per window side for each reference frame, oldest first.
    """

    def __init__(self, window_size: int, reference_pools: tuple[int, ...]):
        super().__init__()
        self.target_pool = WindowPooling(window_size, 1)
        self.reference_pools = nn.ModuleList(
            WindowPooling(window_size, pool) for pool in reference_pools
        )

    def forward(self, target: Tensor) -> Tensor:
        """Padded target (B, nh * w, nw * w, C) -> one token per window, (B, nh * nw, C)."""
        return self.target_pool(target)

    def assemble_reference(self, reference: Tensor, slot: int) -> Tensor:
        """Padded reference -> its tokens as reference number ``slot``, (B, nh * nw * p^2, C)."""
        return self.reference_pools[slot](reference)
