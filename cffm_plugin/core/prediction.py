"""What a segmentor says of frames, of whichever kind: ``LogitsPrediction`` or ``MaskPrediction``.

Nothing else asks which kind it has before it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from .encoded import EncodedFrames, size_of
from .label_maps import BY_STRIDE, CoarseLogits, CoarseOutput, Upsampling, resize, upsample


class Prediction(ABC):
    """Of N frames, before it is brought to the size of an output.

    Attributes:
        is_map: whether what it makes at full resolution is a semantic map, scores of classes from
            0, and not logits.
    """

    is_map: ClassVar[bool]

    @property
    @abstractmethod
    def given(self) -> Any:
        """What the head gave, as its own losses take it."""

    @abstractmethod
    def logits(self) -> Tensor:
        """(N, K, h, w), at its own size."""

    @abstractmethod
    def as_forward(self, size: tuple[int, int], stride: int) -> Tensor:
        """What the head's own ``forward`` gives of it, (N, K, H, W).

        Args:
            size: of the image.
            stride: of the prediction, relative to it.
        """

    @abstractmethod
    def resized(self, size: Sequence[int]) -> "Prediction":
        """Logits at another size; masks stay as they are, since they are resized as their head
        does it."""

    @abstractmethod
    def coarse(
        self,
        encoded: EncodedFrames,
        stride: int,
        output_sizes: Sequence[tuple[int, int]],
        upsampling: Upsampling = BY_STRIDE,
    ) -> Sequence[CoarseOutput]:
        """Of each frame, on its way to an output.

        Args:
            encoded: the frames.
            stride: of their embedding.
            output_sizes: N heights and widths.
            upsampling: of logits.
        """

    @staticmethod
    @abstractmethod
    def probabilities_of(scores: Tensor) -> Tensor:
        """What it makes at full resolution, (K, H, W), as probabilities, which sum to 1."""


@dataclass(frozen=True)
class LogitsPrediction(Prediction):
    """A score of every class at every cell.

    Attributes:
        values: (N, K, h, w).
    """

    values: Tensor
    is_map = False

    @property
    def given(self) -> Tensor:
        return self.values

    def logits(self) -> Tensor:
        return self.values

    def as_forward(self, size: tuple[int, int], stride: int) -> Tensor:
        return upsample(self.values, stride)

    def resized(self, size: Sequence[int]) -> "LogitsPrediction":
        return LogitsPrediction(resize(self.values, size))

    def coarse(
        self,
        encoded: EncodedFrames,
        stride: int,
        output_sizes: Sequence[tuple[int, int]],
        upsampling: Upsampling = BY_STRIDE,
    ) -> list[CoarseLogits]:
        cells, image, padded = size_of(encoded.embedding), encoded.image_size, encoded.padded_size
        return [
            CoarseLogits(logits, cells, stride, image, output_size, padded, upsampling)
            for logits, output_size in zip(self.values, output_sizes, strict=True)
        ]

    @staticmethod
    def probabilities_of(scores: Tensor) -> Tensor:
        return scores.softmax(dim=0)


def as_prediction(given: Tensor | Prediction) -> Prediction:
    """What a head gives: logits (N, K, h, w), or a prediction already."""
    return given if isinstance(given, Prediction) else LogitsPrediction(given)
