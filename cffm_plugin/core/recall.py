"""CFFM with recall: beside pooled context, each cell of the target looks up the past cells near it.

CFFM pools past frames, so it brings context, but no detail: it can't average noise away cell by
cell, as a running mean over frames does where nothing moves. Recall is that mean with a gate: a
cell takes of the past what looks like it, within a few cells, so that what has moved or is hidden
takes nothing. Not in the paper.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import defaults
from .cffm import CFFM, AroundCFFM
from .frame_tokens import FrameTokens
from .temporal_module import FrameFeatures, Tokens, WindowedModule

FADE_IN_STEPS = 100
_FIRST_TEMPERATURE = 30.0  # a cell of cosine 0.967 weighs 1/e of the cell itself
_FIRST_STRENGTH = 0.8
OUTSIDE = -1e4  # score of cells beyond the border; within float16


@dataclass(frozen=True)
class RecallTokens(Tokens):
    """What later targets look at of B frames.

    Attributes:
        cells: (B, C, H, W).
        keys: of the cells, (B, key_dim, H, W), of length 1.
        pooled: CFFM's tokens.
    """

    cells: Tensor
    keys: Tensor
    pooled: FrameTokens

    def only(self, slots: Container[int]) -> "RecallTokens":
        """Without the pooled tokens of other slots; cells and keys serve all."""
        return RecallTokens(self.cells, self.keys, self.pooled.only(slots))


class CellMatching(nn.Module):
    """Means of cells and of what looks like them near by, by the cosine of learned keys, which stay
    in float32.

    Args:
        dim: channels of the cells.
        radius: how far a cell looks, in cells to either side.
        key_dim: channels of the keys.
    """

    def __init__(self, dim: int, radius: int, key_dim: int):
        super().__init__()
        self.radius = radius
        self.key = nn.Conv2d(dim, key_dim, kernel_size=1)
        self.log_temperature = nn.Parameter(torch.tensor(_FIRST_TEMPERATURE).log())

    def keys(self, cells: Tensor) -> Tensor:
        """(B, dim, H, W) -> (B, key_dim, H, W), of length 1."""
        return F.normalize(self.key(cells), dim=1)

    def mean(
        self, cells: Tensor, scores: Sequence[Tensor], near: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The mean of cells and of others, weighted by the softmax of their scores; a cell's own is
        that of cosine 1.

        Args:
            cells: (B, dim, H, W).
            scores: of others, each (B, 1, H, W).
            near: the others, each (B, dim, H, W).

        Returns:
            (B, dim, H, W); and the weight of the cells themselves, (B, 1, H, W).
        """
        own = self.log_temperature.exp().expand_as(cells[:, :1])
        weights = torch.cat([own, *scores], dim=1).softmax(dim=1).split(1, dim=1)
        mean = cells * weights[0]
        for weight, others in zip(weights[1:], near, strict=True):
            mean = torch.addcmul(mean, weight, others)
        return mean, weights[0]


class FrameRecall(CellMatching):
    """Moves every cell towards the mean of itself and the past cells near it that look like it.

    The weights of the mean are the softmax of temperature x cosine between learned keys, plus a
    bias for each reference; the cell itself has cosine 1. How far a cell moves is learned for each
    channel, from most of the way on: clips whose frames lie far apart could not teach it for
    those that lie close. Recall fades in over the first ``FADE_IN_STEPS`` forward passes of
    training, so that before it cells come out as they are, and what follows can get used to it.

    Args:
        dim: channels of the cells.
        num_references: past frames.
        radius: how far a cell looks in each past frame, in cells to either side.
        key_dim: channels of the keys.
    """

    steps: Tensor

    def __init__(self, dim: int, num_references: int, *, radius: int = 1, key_dim: int = 32):
        super().__init__(dim, radius, key_dim)
        self.reference_bias = nn.Parameter(torch.zeros(num_references))
        self.strength = nn.Parameter(torch.full((dim, 1, 1), _FIRST_STRENGTH))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))  # of training, seen

    def forward(self, target: Tensor, references: Sequence[RecallTokens]) -> Tensor:
        """
        Args:
            target: (B, dim, H, W).
            references: oldest first, of frames of the same size.

        Returns:
            (B, dim, H, W).
        """
        faded_in = (self.steps / FADE_IN_STEPS).clamp(max=1)
        if self.training:
            self.steps += 1
        mean = self._mean(target, references)
        return target + faded_in * self.strength * (mean - target)

    def _mean(self, target: Tensor, references: Sequence[RecallTokens]) -> Tensor:
        keys, temperature = self.keys(target), self.log_temperature.exp()
        scores: list[Tensor] = []
        past: list[Tensor] = []
        inside = shifted(torch.ones_like(keys[:1, :1]), self.radius)
        for bias, tokens in zip(self.reference_bias, references, strict=True):
            for near, here in zip(shifted(tokens.keys, self.radius), inside):
                score = temperature * (keys * near).sum(dim=1, keepdim=True) + bias
                scores.append(score.where(here > 0, OUTSIDE))
            past += shifted(tokens.cells, self.radius)
        return self.mean(target, scores, past)[0]


def shifted(maps: Tensor, radius: int) -> list[Tensor]:
    """(B, C, H, W) -> the same, moved to bring every cell within the radius to its place, row by
    row; zero where it comes from outside."""
    height, width = maps.shape[2:]
    padded = F.pad(maps, (radius,) * 4)
    offsets = range(2 * radius + 1)
    return [padded[:, :, y : y + height, x : x + width] for y in offsets for x in offsets]


class CFFMRecall(AroundCFFM, WindowedModule):
    """Recall, then CFFM on what it makes of the target. The contract is CFFM's.

    Args:
        dim: channels of the features, C.
        depth: of CFFM.
        recall_radius, recall_key_dim: of ``FrameRecall``.
        arguments: further ones of ``CFFM``.

    Raises:
        ValueError: the arguments do not fit together.
    """

    def __init__(
        self,
        dim: int,
        depth: int = defaults.DEPTH,
        *,
        recall_radius: int = defaults.RECALL_RADIUS,
        recall_key_dim: int = defaults.RECALL_KEY_DIM,
        **arguments: Any,
    ):
        super().__init__()
        if recall_radius < 0 or recall_key_dim < 1:
            raise ValueError(
                "recall_radius >= 0 and recall_key_dim >= 1, got "
                f"{recall_radius} and {recall_key_dim}"
            )
        self.cffm = CFFM(dim, depth, **arguments)
        self.dim = dim
        self.num_references = self.cffm.num_references
        self.recall = FrameRecall(
            dim, self.num_references, radius=recall_radius, key_dim=recall_key_dim
        )

    def compile_parts(self, **options: Any) -> None:
        """Put recall and CFFM's blocks through ``torch.compile``."""
        self.recall.compile(**options)
        self.cffm.compile_parts(**options)

    def forward(self, clip: Tensor) -> Tensor:
        """Refine the last frame of a clip, (B, T, C, H, W), oldest frame first -> (B, C, H, W).

        Raises:
            ValueError: a clip of another shape.
        """
        self.cffm.check_clip(clip)
        return super().forward(clip)

    def assemble(self, frame: FrameFeatures, slots: Sequence[int] | None = None) -> RecallTokens:
        """As ``CFFM.assemble``."""
        pooled = self.cffm.assemble(frame, slots)  # checks the shape
        return RecallTokens(frame.cells, self.recall.keys(frame.cells), pooled)

    def mine(self, target: FrameFeatures, references: Sequence[RecallTokens]) -> Tensor:
        """As ``CFFM.mine``."""
        pooled = [tokens.pooled for tokens in references]
        self.cffm.check_references(target, pooled)
        recalled = replace(target, cells=self.recall(target.cells, references))
        return self.cffm.mine(recalled, pooled)
