"""CFFM with a memory: what the past looked like, cell by cell, is carried from frame to frame.

CFFM, and recall, look at three past frames; a running mean over all of them, which any model can
have for nothing, averages away more noise. The memory is that mean with a gate: it follows what
moves by a cell a frame, and where nothing in it looks like the frame it begins anew, so that it
does not blur what moves. CFFM then looks at the memory instead of at three frames, pooled the
coarser the wider it looks. Not in the paper.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import defaults
from .cffm import CFFM, AroundCFFM
from .recall import FADE_IN_STEPS, OUTSIDE, CellMatching, shifted
from .temporal_module import FrameFeatures, RecurrentModule

_FIRST_BIAS_OF_NEIGHBOURS = -1.0  # what stands still is found where it was
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class MemoryState:
    """What is known of B videos so far, in the place where it is now.

    Attributes:
        cells: means over the frames that they were seen in, (B, C, H, W).
        frames: how many frames each is the mean of, (B, 1, H, W), from 1.
    """

    cells: Tensor
    frames: Tensor

    @classmethod
    def of_first_frame(cls, cells: Tensor) -> "MemoryState":
        """The mean of one frame: the frame."""
        return cls(cells, torch.ones_like(cells[:, :1]))


class CellMemory(CellMatching):
    """The mean of each cell of a frame and the memories near it that look like it.

    The weights of the mean are the softmax of temperature x cosine between learned keys, plus a
    bias for where the memory was, plus the logarithm of how many frames it holds times a learned
    number: at 1, and where the keys agree, this is the mean over all frames. The cell itself has
    cosine 1 and counts as one frame. A memory that holds ``most_frames`` grows no heavier, so that
    it follows slow changes.

    Args:
        dim: channels of the cells.
        radius: how far a cell looks in the memory, in cells to either side.
        key_dim: channels of the keys.
        most_frames: that a memory counts as.
    """

    def __init__(self, dim: int, *, radius: int = 1, key_dim: int = 32, most_frames: float = 16.0):
        super().__init__(dim, radius, key_dim)
        self.most_frames = most_frames
        biases = torch.full(((2 * radius + 1) ** 2,), _FIRST_BIAS_OF_NEIGHBOURS)
        biases[len(biases) // 2] = 0.0
        self.place_bias = nn.Parameter(biases)
        self.weight_of_age = nn.Parameter(torch.ones(()))

    def forward(self, cells: Tensor, state: MemoryState) -> MemoryState:
        """The memory after the next frame's cells, (B, dim, H, W)."""
        keys, temperature = self.keys(cells), self.log_temperature.exp()
        places = zip(
            self.place_bias,
            shifted(self.keys(state.cells), self.radius),
            shifted(state.frames, self.radius),
            strict=True,
        )
        scores = []
        for bias, near, frames in places:
            similarity = temperature * (keys * near).sum(dim=1, keepdim=True)
            age = self.weight_of_age * frames.clamp(min=_LEAST_WEIGHT).log()
            scores.append((similarity + bias + age).where(frames > 0, OUTSIDE))
        mean, own_weight = self.mean(cells, scores, shifted(state.cells, self.radius))
        frames = (1 / own_weight.clamp(min=_LEAST_WEIGHT)).clamp(max=self.most_frames)
        return MemoryState(mean, frames)


class CFFMMemory(AroundCFFM, RecurrentModule):
    """A memory of cells, then CFFM between the frame and the memory.

    A frame moves towards the memory, by a share that is learned for each channel; CFFM, on maps
    that are ``context_pool`` times smaller, adds what the memory's surroundings say. A video's
    first frame comes out as it is. The memory fades in over the first ``FADE_IN_STEPS`` clips of
    training, as recall does.

    Args:
        dim: channels of the features, C.
        depth: of CFFM.
        recall_radius, recall_key_dim: of ``CellMemory``.
        memory_frames: its ``most_frames``.
        context_pool: cells of the memory to a cell of CFFM, to either side.
        arguments: further ones of ``CFFM``.

    Raises:
        ValueError: the arguments do not fit together.
    """

    steps: Tensor

    def __init__(
        self,
        dim: int,
        depth: int = defaults.DEPTH,
        *,
        recall_radius: int = defaults.RECALL_RADIUS,
        recall_key_dim: int = defaults.RECALL_KEY_DIM,
        memory_frames: float = defaults.MEMORY_FRAMES,
        context_pool: int = defaults.CONTEXT_POOL,
        **arguments: Any,
    ):
        super().__init__()
        if recall_radius < 0 or recall_key_dim < 1 or memory_frames < 1 or context_pool < 1:
            raise ValueError(
                "recall_radius >= 0; recall_key_dim, memory_frames and context_pool >= 1, got "
                f"{recall_radius}; {recall_key_dim}, {memory_frames} and {context_pool}"
            )
        self.dim = dim
        self.context_pool = context_pool
        self.memory = CellMemory(
            dim, radius=recall_radius, key_dim=recall_key_dim, most_frames=memory_frames
        )
        self.strength = nn.Parameter(torch.ones(dim, 1, 1))
        self.cffm = CFFM(dim, depth, **arguments)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # clips of training, seen

    def compile_parts(self, **options: Any) -> None:
        """Put the memory and CFFM's blocks through ``torch.compile``."""
        self.memory.compile(**options)
        self.cffm.compile_parts(**options)

    def step(self, frame: FrameFeatures, state: MemoryState | None) -> tuple[Tensor, MemoryState]:
        """See ``RecurrentModule``."""
        if state is None:
            if self.training:
                self.steps += 1
            return frame.cells, MemoryState.of_first_frame(frame.cells)
        has_past = state.frames.amax(dim=(1, 2, 3), keepdim=True) > 0  # not so for a state of zeros
        state = self.memory(frame.cells, state)
        faded_in = (self.steps / FADE_IN_STEPS).clamp(max=1)
        refined = frame.cells + faded_in * self.strength * (state.cells - frame.cells)
        context = self._context(frame, refined, state.cells)
        return refined + context.where(has_past, 0.0), state

    def _context(self, frame: FrameFeatures, refined: Tensor, memory: Tensor) -> Tensor:
        """What CFFM changes of the refined cells, (B, dim, H, W)."""
        target, source = (
            F.avg_pool2d(cells, self.context_pool, ceil_mode=True, count_include_pad=False)
            for cells in (refined, memory)
        )
        tokens = self.cffm.assemble(replace(frame, cells=source))
        change = self.cffm.mine(replace(frame, cells=target), [tokens] * self.cffm.num_references)
        change = change - target
        if change.shape[2:] == refined.shape[2:]:
            return change
        size = refined.shape[2:]
        return F.interpolate(change, size=size, mode="bilinear", align_corners=False)
