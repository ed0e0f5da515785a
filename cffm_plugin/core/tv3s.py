"""TV3S: a state space model carries what it has seen from frame to frame, window by window.

Hesham et al., "Exploiting Temporal State Space Sharing for Video Semantic Segmentation", CVPR 2025.
"""

import itertools
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import defaults
from .mamba_mixer import MambaMixer, MixerState
from .nested import map_tensors
from .rectangles import Partition, partition
from .temporal_module import (
    FrameFeatures,
    FrameMap,
    RecurrentModule,
    TemporalModule,
    WindowedModule,
    last_of_steps,
)

NORM_EPS = 1e-5


@dataclass(frozen=True)
class TV3SState:
    """What TV3S knows of B videos after a frame. Its size is that of the map, whatever went before.

    Attributes:
        blocks: of each block, the mixer's states of all R rectangles: (B, R, 3, D) and (B, R, N, D)
            with D = 2 C.
        branch_scales: in training, what stochastic depth multiplies each rectangle of each block's
            result by, in all frames of a clip: (B, R); otherwise ().
    """

    blocks: tuple[MixerState, ...]
    branch_scales: tuple[Tensor, ...] = ()


class TV3SBlock(nn.Module):
    """A norm, then the mixer on every rectangle's cells, row by row, frame after frame."""

    def __init__(self, dim: int, num_states: int):
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=NORM_EPS)
        self.mixer = MambaMixer(dim, num_states)

    def forward(
        self, cells: Tensor, cut: Partition, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """
        Args:
            cells: (B, H * W, C), row by row.
            cut: the rectangles.
            state: of all R rectangles, after the frame before.

        Returns:
            (B, H * W, C), and the state after this frame.
        """
        B, _, C = cells.shape
        tokens = self.norm(cells).index_select(1, cut.order)
        mixed, states = [], []
        for group in cut.groups():
            sequences = tokens[:, group.cells].reshape(-1, group.length, C)
            before = MixerState(
                state.convolution[:, group.rectangles].flatten(0, 1),
                state.scan[:, group.rectangles].flatten(0, 1),
            )
            result, after = self.mixer(sequences, before)
            mixed.append(result.reshape(B, -1, C))
            states.append(map_tensors(after, lambda tensor: tensor.unflatten(0, (B, -1))))
        after = MixerState(
            torch.cat([part.convolution for part in states], 1),
            torch.cat([part.scan for part in states], 1),
        )
        return torch.cat(mixed, 1).index_select(1, cut.inverse), after


class TV3S(TemporalModule, ABC):
    """Blocks of state space models over the cells of windows: what both ways of using it share.

    Even blocks cut the map into windows, odd ones into windows that are shifted. All cells of a
    rectangle are a sequence, which goes on from frame to frame. ``build`` makes a ``TV3SStream`` or
    a ``TV3SClip``; the weights of the two are the same.

    Args:
        dim: channels of the features, C.
        depth: number of blocks.
        window_size: side of a window, in cells. Maps are stretched to whole windows.
        shift: how far the windows of odd blocks are shifted, in cells; less than a window.
        num_states: of the state space models, for each of their 2 C channels.
        window_drop_rate: largest rate of stochastic depth, which grows linearly over the blocks. In
            training a block's result is left out for some rectangles, in all frames of a clip.

    Raises:
        ValueError: the arguments do not fit together.
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int = defaults.TV3S_DEPTH,
        window_size: int = defaults.TV3S_WINDOW_SIZE,
        shift: int = defaults.TV3S_SHIFT,
        num_states: int = defaults.TV3S_NUM_STATES,
        window_drop_rate: float = defaults.TV3S_WINDOW_DROP_RATE,
    ):
        super().__init__()
        if depth < 1 or num_states < 1:
            raise ValueError(f"depth and num_states are at least 1, got {depth} and {num_states}")
        if not 0 < shift < window_size:
            raise ValueError(
                f"expected 0 < shift < window_size, got a shift of {shift} for windows of "
                f"{window_size}"
            )
        if not 0 <= window_drop_rate < 1:
            raise ValueError(f"window_drop_rate is a share below 1, got {window_drop_rate}")
        self.dim = dim
        self.window_size = window_size
        self.shift = shift
        self.activation_checkpointing = False
        # Of the sums before the second block, the third, ... and before the last norm.
        self.drop_rates = [window_drop_rate * i / (depth - 1) for i in range(depth - 1)]
        self.drop_rates.append(window_drop_rate)
        self.blocks = nn.ModuleList(TV3SBlock(dim, num_states) for _ in range(depth))
        self.norm = nn.RMSNorm(dim, eps=NORM_EPS)

    @classmethod
    def build(
        cls,
        embedding_channels: int,
        output_shape: Mapping[str, Any],
        *,
        mode: str = defaults.TV3S_MODE,
        **arguments: Any,
    ) -> Any:
        """One as wide as the embedding.

        Args:
            embedding_channels: of the image head's embedding.
            output_shape: not used.
            mode: "stream" or "clip", see ``TV3SStream`` and ``TV3SClip``.
            arguments: further ones of the class.

        Raises:
            ValueError: there is no such mode.
        """
        kinds: dict[str, type[TV3S]] = {"stream": TV3SStream, "clip": TV3SClip}
        if mode not in kinds:
            raise ValueError(f"MODEL.TV3S.MODE (mode) is one of {', '.join(kinds)}; got {mode!r}")
        return kinds[mode](embedding_channels, **arguments)

    def cell_grid(self, height: int, width: int) -> tuple[int, int]:
        """Sides are rounded up to whole windows."""
        rounded = (-(-side // self.window_size) * self.window_size for side in (height, width))
        return next(rounded), next(rounded)

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes the blocks' activations again instead of keeping them."""
        self.activation_checkpointing = enable

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast the large linear maps, for inference; steps, scans and sums stay in float32."""
        for module in self.modules():
            if isinstance(module, MambaMixer):
                module.in_proj.to(dtype)
                module.out_proj.to(dtype)

    def step(self, frame: FrameFeatures, state: TV3SState | None) -> tuple[Tensor, TV3SState]:
        """Refine the next frame of B videos by all frames before it.

        Args:
            frame: cells (B, C, H, W), whole windows.
            state: after the frame before; None for a video's first frame.

        Returns:
            (B, C, H, W), and the state after the frame.

        Raises:
            ValueError: cells of another shape, or a state of frames of another size.
        """
        cells = frame.cells
        if cells.dim() != 4 or cells.shape[1] != self.dim:
            raise ValueError(f"expected cells (B, {self.dim}, H, W), got {tuple(cells.shape)}")
        B, _, height, width = cells.shape
        cuts = [
            partition(height, width, self.window_size, shift, cells.device)
            for shift in (0, self.shift)
        ]
        state = self._start(B, cuts) if state is None else state
        self._check_state(state, B, cuts)
        residual = cells.flatten(2).transpose(1, 2).float()
        states = []
        for index, block in enumerate(self.blocks):
            change, after = self._run(block, residual, cuts[index % 2], state.blocks[index])
            residual = residual + self._scaled(change, state, index, cuts)
            states.append(after)
        refined = self.norm(residual).transpose(1, 2).unflatten(2, (height, width))
        return refined, TV3SState(tuple(states), state.branch_scales)

    def _run(
        self, block: nn.Module, residual: Tensor, cut: Partition, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, residual, cut, state, use_reentrant=False)
        return block(residual, cut, state)

    def _scaled(
        self, change: Tensor, state: TV3SState, index: int, cuts: Sequence[Partition]
    ) -> Tensor:
        """A block's result (B, H * W, C), times its rectangles' scales."""
        if not state.branch_scales:
            return change
        cut = self._cut_after(index, cuts)
        return change * state.branch_scales[index][:, cut.rectangle_of_cell, None]

    def _cut_after(self, index: int, cuts: Sequence[Partition]) -> Partition:
        """The rectangles that stochastic depth draws for: those of the block that comes next, after
        the last block plain windows."""
        return cuts[(index + 1) % 2 if index + 1 < len(self.blocks) else 0]

    def _start(self, B: int, cuts: Sequence[Partition]) -> TV3SState:
        """Before the first frame of B videos."""
        blocks = []
        for index, block in enumerate(self.blocks):
            mixer: Any = block.mixer
            start = mixer.start(B * len(cuts[index % 2].lengths))
            blocks.append(map_tensors(start, lambda tensor: tensor.unflatten(0, (B, -1))))
        scales: list[Tensor] = []
        if self.training and max(self.drop_rates) > 0:
            for index, rate in enumerate(self.drop_rates):
                rectangles = len(self._cut_after(index, cuts).lengths)
                kept = self.norm.weight.new_empty(B, rectangles).bernoulli_(1 - rate)
                scales.append(kept / (1 - rate))
        return TV3SState(tuple(blocks), tuple(scales))

    def _check_state(self, state: TV3SState, B: int, cuts: Sequence[Partition]) -> None:
        for block, cut in zip(state.blocks, itertools.cycle(cuts)):
            if block.scan.shape[:2] != (B, len(cut.lengths)):
                raise ValueError(
                    f"expected the state of {B} videos with {len(cut.lengths)} rectangles, got "
                    f"{tuple(block.scan.shape[:2])}: frames of another size need a new state"
                )


class TV3SStream(TV3S, RecurrentModule):
    """TV3S whose state lives as long as the video: what the paper is about.

    Clips have any number of frames, and a stream of n frames is the clip of these n frames.
    """


class TV3SClip(TV3S, WindowedModule):
    """TV3S on clips: each target's state begins anew with the first of its references.

    The published scores are of this, with three references three frames apart, as in training. It
    costs a step for every frame of the clip.

    Args:
        dim: channels of the features, C.
        num_references: frames before the target.
        arguments: further ones of ``TV3S``.
    """

    def __init__(
        self, dim: int, *, num_references: int = len(defaults.FRAME_OFFSETS), **arguments: Any
    ):
        super().__init__(dim, **arguments)
        self.num_references = num_references

    def assemble(self, frame: FrameFeatures, slots: Sequence[int] | None = None) -> FrameMap:
        """The cells as they are: what a frame adds to a state depends on those before it."""
        return FrameMap(frame.cells)

    def mine(self, target: FrameFeatures, references: Sequence[FrameMap]) -> Tensor:
        """The last of the steps through references, oldest first, and target."""
        frames = (FrameFeatures(tokens.frame) for tokens in references)
        return last_of_steps(self.step, frames, target)
