"""CFFM, the temporal module: past frames, pooled the coarser the older, refine the target frame.

Sun et al., "Coarse-to-Fine Feature Mining for Video Semantic Segmentation", CVPR 2022.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import defaults
from .assembling import CoarseToFineAssembling
from .frame_tokens import FrameTokens
from .mining import CrossFrameMining
from .temporal_module import FrameFeatures, TemporalModule, WindowedModule
from .windows import AttentionTable, pad_to_windows

LARGEST_HIDDEN = 1 << 25  # values of a frame that an MLP makes at a time in inference: 128 MB


class Mlp(nn.Module):
    """Linear, GELU, linear, over the last dimension of maps (..., H, W, C)."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.fc1.weight.dtype)
        rows = max(1, LARGEST_HIDDEN // (x.shape[-2] * self.fc1.out_features))
        if torch.is_grad_enabled() or rows >= x.shape[-3]:
            return self.fc2(F.gelu(self.fc1(x)))
        parts = [self.fc2(F.gelu(self.fc1(part))) for part in x.split(rows, dim=-3)]
        return torch.cat(parts, dim=-3)


class CFFMBlock(nn.Module):
    """One temporal block: assembles tokens, mines them for the target, then an MLP.

    Feature maps are channels last, (B, H, W, C). Arguments as in ``CFFM``.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        window_size: int,
        target_kernel: int,
        reference_pools: tuple[int, ...],
        reference_kernels: tuple[int, ...],
        mlp_ratio: float,
    ):
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(dim)
        self.assembling = CoarseToFineAssembling(window_size, reference_pools)
        self.mining = CrossFrameMining(
            dim,
            num_heads=num_heads,
            window_size=window_size,
            target_kernel=target_kernel,
            reference_pools=reference_pools,
            reference_kernels=reference_kernels,
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def normalise_and_pad(self, frame: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, nh * w, nw * w, C). Padding is zero: it comes after the norm."""
        return pad_to_windows(self.norm1(frame), self.window_size)

    def assemble(self, reference: Tensor, slots: Sequence[int]) -> tuple[Tensor | None, ...]:
        """A reference frame (B, H, W, C) -> per slot, keys and values (B, N, 2C) or None."""
        reference = self.normalise_and_pad(reference)
        return tuple(
            self.mining.keys_values(self.assembling.assemble_reference(reference, slot))
            if slot in slots
            else None
            for slot in range(len(self.assembling.reference_pools))
        )

    def table(self, size: Sequence[int]) -> AttentionTable:
        """What the windows of a map of H, W look at: the same for all blocks."""
        height, width = (-(-side // self.window_size) for side in size)
        return self.mining.table((height, width))

    def forward(
        self, target: Tensor, reference_keys_values: Sequence[Tensor], table: AttentionTable
    ) -> Tensor:
        """Refine a target (B, H, W, C) by the references' keys and values, oldest first.

        Args:
            target: the frame.
            reference_keys_values: of ``assemble``.
            table: of ``table``, for the target's size.
        """
        height, width = target.shape[1:3]
        padded = self.normalise_and_pad(target)
        mined = self.mining(padded, self.assembling(padded), reference_keys_values, table)
        target = target + mined[:, :height, :width]
        return target + self.mlp(self.norm2(target))


class WithHeads(TemporalModule):
    """A temporal module whose width attention heads share evenly."""

    @classmethod
    def build(
        cls, embedding_channels: int, output_shape: Mapping[str, Any], **arguments: Any
    ) -> Self:
        num_heads = arguments.get("num_heads", defaults.NUM_HEADS)
        return cls(width_for_heads(embedding_channels, num_heads), **arguments)


class CFFM(WithHeads, WindowedModule):
    """Refines the features of a target frame by those of a few earlier frames.

    Reference features enter every block unchanged; only the target is updated. The work on a
    reference depends on nothing but that frame, so a video can be processed frame by frame:
    ``assemble`` each frame once, ``mine`` with the tokens that were kept.

    Args:
        dim: channels of the features, C.
        depth: number of temporal blocks.
        num_heads: attention heads; must divide ``dim``.
        window_size: side of an attention window, in cells.
        reference_pools: tokens per window side for each reference frame, oldest first. The
            farther in time, the fewer. Its length is the number of reference frames.
        reference_kernels: side of the neighbourhood of tokens that a window looks at in each
            reference frame; odd.
        target_kernel: the same for the target's own window tokens; odd.
        mlp_ratio: hidden width of the blocks' MLP over ``dim``.

    Raises:
        ValueError: the arguments do not fit together.
    """

    def __init__(
        self,
        dim: int,
        depth: int = defaults.DEPTH,
        *,
        num_heads: int = defaults.NUM_HEADS,
        window_size: int = defaults.WINDOW_SIZE,
        reference_pools: Sequence[int] = defaults.REFERENCE_POOLS,
        reference_kernels: Sequence[int] = defaults.REFERENCE_KERNELS,
        target_kernel: int = defaults.TARGET_KERNEL,
        mlp_ratio: float = defaults.MLP_RATIO,
    ):
        super().__init__()
        pools, kernels = tuple(reference_pools), tuple(reference_kernels)
        if len(pools) != len(kernels):
            raise ValueError(
                "reference_pools and reference_kernels hold one number per reference frame, "
                f"got {pools} and {kernels}"
            )
        if dim % num_heads:
            raise ValueError(f"num_heads must divide dim, got {num_heads} heads for {dim} channels")
        if depth < 1 or window_size < 2:
            raise ValueError(f"depth >= 1 and window_size >= 2, got {depth} and {window_size}")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in (target_kernel, *kernels)):
            raise ValueError(f"kernels must be odd, got {target_kernel} (target) and {kernels}")
        self.dim = dim
        self.num_references = len(pools)
        self.activation_checkpointing = False
        self.blocks = nn.ModuleList(
            CFFMBlock(
                dim,
                num_heads=num_heads,
                window_size=window_size,
                target_kernel=target_kernel,
                reference_pools=pools,
                reference_kernels=kernels,
                mlp_ratio=mlp_ratio,
            )
            for _ in range(depth)
        )

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes the blocks' activations again instead of keeping them."""
        self.activation_checkpointing = enable

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast the linear maps, for inference; norms, pooling and sums stay in float32."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.to(dtype)
            elif isinstance(module, CrossFrameMining):
                module.dtype = dtype

    def start_as_identity(self) -> bool:
        """Set the last linear maps of every block to zero: the target comes out as it is."""
        for block in self.blocks:
            assert isinstance(block, CFFMBlock)
            for last in (block.mining.proj, block.mlp.fc2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        return True

    def compile_parts(self, **options: Any) -> None:
        """Put the blocks through ``torch.compile``: what ``mine`` spends its time on."""
        for block in self.blocks:
            block.compile(**options)

    def forward(self, clip: Tensor) -> Tensor:
        """Refine the last frame of a clip.

        Args:
            clip: (B, T, C, H, W), oldest frame first, target last; T = references + 1; any H, W.

        Returns:
            (B, C, H, W), the refined target.

        Raises:
            ValueError: a clip of another shape.
        """
        self.check_clip(clip)
        return super().forward(clip)

    def assemble(self, frame: FrameFeatures, slots: Sequence[int] | None = None) -> FrameTokens:
        """The tokens of a frame that later targets look at.

        Args:
            frame: its cells are (B, C, H, W).
            slots: the places among the references that the frame will take, 0 the oldest. None:
                all of them, as in a stream, where a frame grows older.

        Raises:
            ValueError: a frame of another shape.
        """
        cells = frame.cells
        self._check_cells(cells, "frame")
        slots = range(self.num_references) if slots is None else slots
        height, width = cells.shape[2:]
        cells = cells.permute(0, 2, 3, 1)
        blocks: Any = self.blocks
        return FrameTokens(height, width, tuple(block.assemble(cells, slots) for block in blocks))

    def mine(self, target: FrameFeatures, references: Sequence[FrameTokens]) -> Tensor:
        """Refine a target frame by the tokens of its references.

        Args:
            target: its cells are (B, C, H, W).
            references: one per reference frame, oldest first, of frames of the same size.

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: another number of references, or of another size.
        """
        self.check_references(target, references)
        first: Any = self.blocks[0]
        table = first.table(target.cells.shape[2:])
        cells = target.cells.permute(0, 2, 3, 1)
        for i, block in enumerate(self.blocks):
            keys_values = _keys_values_of(references, i)
            if self.activation_checkpointing and torch.is_grad_enabled():
                cells = checkpoint(block, cells, keys_values, table, use_reentrant=False)
            else:
                cells = block(cells, keys_values, table)
        return cells.permute(0, 3, 1, 2)

    def check_clip(self, clip: Tensor) -> None:
        """
        Raises:
            ValueError: it has another shape than ``forward`` takes.
        """
        if clip.dim() != 5 or clip.shape[1] != self.num_references + 1:
            raise ValueError(
                f"CFFM with {self.num_references} reference frames takes a clip of shape "
                f"(B, {self.num_references + 1}, {self.dim}, H, W), got {tuple(clip.shape)}"
            )

    def check_references(self, target: FrameFeatures, references: Sequence[FrameTokens]) -> None:
        """
        Raises:
            ValueError: target and references are not what ``mine`` takes.
        """
        self._check_cells(target.cells, "target")
        super().check_references(target, references)

    def _check_cells(self, cells: Tensor, name: str) -> None:
        if cells.dim() != 4 or cells.shape[1] != self.dim:
            raise ValueError(f"{name}: expected (B, {self.dim}, H, W), got {tuple(cells.shape)}")


class AroundCFFM(WithHeads):
    """A temporal module that has a part of its own besides ``cffm``. That part stays in float32,
    and lets targets come out as they are until it is trained."""

    cffm: CFFM

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Of CFFM's blocks."""
        self.cffm.set_activation_checkpointing(enable)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Of CFFM."""
        self.cffm.compute_in(dtype)

    def start_as_identity(self) -> bool:
        """As CFFM's."""
        return self.cffm.start_as_identity()


def width_for_heads(channels: int, num_heads: int) -> int:
    """The next width that attention heads can share evenly."""
    return -(-channels // num_heads) * num_heads


def _keys_values_of(references: Sequence[FrameTokens], block: int) -> list[Tensor]:
    """What a block needs of the references: reference number i in slot i."""
    keys_values = []
    for slot, tokens in enumerate(references):
        in_slot = tokens.keys_values[block][slot]
        if in_slot is None:
            raise ValueError(f"reference {slot} was not assembled for slot {slot}")
        keys_values.append(in_slot)
    return keys_values
