"""Frames after the image segmentor's part of the work."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .nested import map_tensors
from .temporal_module import FrameFeatures


def size_of(batch: Tensor) -> tuple[int, int]:
    """Height and width of maps (N, C, H, W)."""
    return batch.shape[-2], batch.shape[-1]


@dataclass(frozen=True)
class EncodedFrames:
    """What the image segmentor makes of N frames.

    Attributes:
        embedding: of every pixel, (N, C, h, w), at the head's stride.
        context: what else the head needs to classify it, see ``HeadEmbedding``.
        features: what the temporal module gets of them.
        image_size: height and width of the frames before padding.
        padded_size: the same after it.
    """

    embedding: Tensor
    context: Any
    features: FrameFeatures
    image_size: tuple[int, int]
    padded_size: tuple[int, int]

    @property
    def cells(self) -> Tensor:
        """The embedding at the temporal module's width and stride, (N, dim, h', w'): what it works
        on, and what prototypes are made of. The embedding itself without a temporal module."""
        return self.features.cells

    def __getitem__(self, frames: slice | list[int]) -> "EncodedFrames":
        """Some of the frames."""
        return map_tensors(self, lambda tensor: tensor[frames])
