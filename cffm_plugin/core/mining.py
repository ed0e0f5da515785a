"""Cross-frame feature mining, CFM (CFFM, section 3.3): attention from windows to tokens."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import CACHE_BYTES, attend
from .windows import (
    AttentionTable,
    attention_table,
    merge_windows,
    partition_windows,
    relative_position_index,
)


class CrossFrameMining(nn.Module):
    """Multi-head attention from every target window to its assembled tokens.

    A window looks at its own positions, at the positions around it, and at neighbourhoods of
    pooled tokens of the target and of every reference. Keys and values of all tokens stand in one
    bank, from which each window gathers its own.

    Args:
        dim: channels, C.
        num_heads: attention heads; must divide C.
        window_size: side of a window, w.
        target_kernel: side of the neighbourhood of the target's pooled tokens, odd.
        reference_pools: tokens per window side for each reference frame, oldest first.
        reference_kernels: side of the neighbourhood for each reference frame, odd.
    """

    dtype: torch.dtype | None = None  # what linear maps take, of ``CFFM.compute_in``

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        window_size: int,
        target_kernel: int,
        reference_pools: tuple[int, ...],
        reference_kernels: tuple[int, ...],
    ):
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.target_kernel = target_kernel
        self.reference_pools = reference_pools
        self.reference_kernels = reference_kernels
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

        def bias_table(kernel: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(num_heads, (window_size + kernel - 1) ** 2))

        expand = window_size // 2
        num_surrounding = 4 * (window_size**2 - (window_size - expand) ** 2)
        self.window_bias = bias_table(window_size)
        self.surroundings_bias = nn.Parameter(
            torch.empty(num_heads, window_size**2, num_surrounding)
        )
        self.target_bias = bias_table(target_kernel)
        self.reference_biases = nn.ParameterList(bias_table(k) for k in reference_kernels)
        # Entries of the tables, in the order of ``position_bias``.
        kernels = (window_size, target_kernel, *reference_kernels)
        for i, kernel in enumerate(kernels):
            index = relative_position_index(window_size, kernel)
            self.register_buffer(f"relative_index{i}", index, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.window_bias)
        for table in (self.surroundings_bias, self.target_bias, *self.reference_biases):
            nn.init.trunc_normal_(table, std=0.02)

    def keys_values(self, tokens: Tensor) -> Tensor:
        """Keys and values of pooled tokens: (B, N, C) -> (B, N, 2C), keys first."""
        dim = self.qkv.in_features
        weight, bias = self.qkv.weight[dim:], self.qkv.bias[dim:]
        if getattr(self.qkv, "stays_in_float32", False):  # here too, where it is not called
            with torch.autocast(tokens.device.type, enabled=False):
                return self._cast(F.linear(tokens.float(), weight, bias))
        return F.linear(self._cast(tokens), weight, bias)

    def _cast(self, tokens: Tensor) -> Tensor:
        return tokens if self.dtype is None else tokens.to(self.dtype)

    def position_bias(self) -> Tensor:
        """Bias of every query position to every token of a window: (heads, w * w, L)."""
        tables = (self.window_bias, self.target_bias, *self.reference_biases)
        groups = [
            # (w * w, k * k, heads) -> (heads, w * w, k * k)
            F.embedding(getattr(self, f"relative_index{i}"), table.t()).permute(2, 0, 1)
            for i, table in enumerate(tables)
        ]
        groups.insert(1, self.surroundings_bias)
        return torch.cat(groups, dim=2)

    def table(self, grid: tuple[int, int]) -> AttentionTable:
        """Which tokens each of nh x nw windows looks at, see ``attention_table``."""
        return attention_table(
            grid,
            self.window_size,
            self.target_kernel,
            self.reference_pools,
            self.reference_kernels,
            self.window_bias.device,
        )

    def forward(
        self,
        target: Tensor,
        target_tokens: Tensor,
        reference_keys_values: Sequence[Tensor],
        table: AttentionTable,
    ) -> Tensor:
        """Attend from every window of the target.

        Args:
            target: normalised and padded, (B, nh * w, nw * w, C).
            target_tokens: its pooled tokens, (B, nh * nw, C).
            reference_keys_values: per reference, oldest first, (B, nh * nw * p^2, 2C), from
                ``keys_values``.
            table: of the grid, from ``table``; the same for all blocks.

        Returns:
            (B, nh * w, nw * w, C).
        """
        B, H, W, C = target.shape
        w = self.window_size
        grid = (H // w, W // w)
        query, key_value = self.qkv(self._cast(target)).split((C, 2 * C), dim=-1)
        bank = torch.cat(
            [
                key_value.reshape(B, H * W, 2 * C),
                self.keys_values(target_tokens),
                *reference_keys_values,
            ],
            dim=1,
        )
        on_cpu = target.device.type == "cpu"
        attend_windows = self._attend_eagerly if on_cpu else self._attend
        mined = attend_windows(partition_windows(query, w), bank, *table)
        return merge_windows(self.proj(mined), w, grid)

    def _attend(self, query: Tensor, bank: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of all windows.

        Args:
            query: (B, N, w * w, C), N windows.
            bank: keys and values of all tokens, (B, M, 2C).
            index, mask: (N, L), from ``attention_table``.

        Returns:
            (B, N, w * w, C).
        """
        num_windows, num_tokens = index.shape
        bias = self.position_bias().to(query.dtype)
        if torch.is_grad_enabled():  # gathering again costs little, keeping it much
            attended = checkpoint(
                self._attend_windows,
                query,
                bank,
                index,
                bias,
                mask,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            assert isinstance(attended, Tensor)
            return attended
        step = self._windows_at_a_time(bank, num_windows, num_tokens)
        if step == num_windows:
            return self._attend_windows(query, bank, index, bias, mask)
        mined = torch.empty_like(query)
        for start in range(0, num_windows, step):
            part = slice(start, start + step)
            mined[:, part] = self._attend_windows(
                query[:, part],
                bank,
                index[part],
                bias,
                None if mask is None else mask[part],
            )
        return mined

    @torch.compiler.disable
    def _attend_eagerly(self, *arguments: Any) -> Tensor:
        """A compiled program would unroll the loop over windows, and be no faster for it."""
        return self._attend(*arguments)

    @staticmethod
    def _windows_at_a_time(bank: Tensor, num_windows: int, num_tokens: int) -> int:
        """On a CPU, as many as leave their gathered tokens in its cache: 3 times as fast.

        Other devices want large batches.
        """
        if bank.device.type != "cpu":
            return num_windows
        B, _, width = bank.shape
        bytes_per_window = B * num_tokens * width * bank.element_size()
        return max(1, min(num_windows, CACHE_BYTES // bytes_per_window))

    def _attend_windows(
        self, query: Tensor, bank: Tensor, index: Tensor, bias: Tensor, mask: Tensor | None
    ) -> Tensor:
        """As ``_attend``, for windows that are few enough to be worked on at once."""
        gathered = gather_rows(bank, index)  # (B, N, L, 2C)
        B, N, positions, C = query.shape
        heads, num_tokens = self.num_heads, gathered.shape[2]
        query = query.reshape(B * N, positions, heads, C // heads).transpose(1, 2)
        key, value = (
            gathered.view(B * N, num_tokens, 2, heads, C // heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        bias = bias.unsqueeze(0)
        if mask is not None:
            bias = bias + mask.to(query.dtype).view(N, 1, 1, num_tokens)
            bias = bias.repeat(B, 1, 1, 1) if B > 1 else bias
        mined = attend(query, key, value, bias)
        return mined.transpose(1, 2).reshape(B, N, positions, C)


def gather_rows(bank: Tensor, index: Tensor) -> Tensor:
    """Rows of each batch item's bank: (B, M, C) and (N, L) int64 -> (B, N, L, C).

    As an embedding look-up, whose gradient is summed in a fixed order on every device.
    """
    B, M, C = bank.shape
    batch_start = torch.arange(B, device=index.device).view(B, 1, 1) * M
    return F.embedding(index + batch_start, bank.reshape(B * M, C))
