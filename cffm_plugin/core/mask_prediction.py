"""Mask classification's predictions: a mask and a class for every query, and the map they make.

MaskFormer (Cheng et al., NeurIPS 2021, section 3.4): the score of a class at a pixel is the sum
over the queries of the query's probability of the class times its mask's probability of the pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from .encoded import EncodedFrames
from .label_maps import (
    BY_STRIDE,
    CoarseLogits,
    CoarseOutput,
    Upsampling,
    crop_and_resize,
    resize,
)
from .prediction import LogitsPrediction, Prediction

_LEAST = torch.finfo(torch.float32).tiny  # so that no logarithm is infinite


@dataclass(frozen=True)
class MaskPrediction(Prediction):
    """What a head of mask classification gives for N frames, in place of logits (N, K, h, w).

    Attributes:
        masks: logits (N, Q, h, w) of Q queries.
        classes: logits (N, Q, K + 1), the last for "no object".
        auxiliary: further outputs that the head's own losses take, such as those of earlier
            decoder layers: tensors with the frames as their first dimension, in any container.
        mask_size: what the masks are resized to before their sigmoid: "image" for the size of the
            padded image, a height and a width, or None for as they are. Libraries differ here.
        resize_first: the masks are resized to the output before their sigmoid, the map is not.
    """

    masks: Tensor
    classes: Tensor
    auxiliary: Any = field(default_factory=list)
    mask_size: tuple[int, int] | Literal["image"] | None = "image"
    resize_first: bool = False
    is_map = True

    @property
    def given(self) -> "MaskPrediction":
        return self

    def class_probabilities(self) -> Tensor:
        """(N, Q, K), without "no object"."""
        return self.classes.softmax(dim=-1)[..., :-1]

    def logits(self) -> Tensor:
        """The logarithm of the semantic map at the masks' own size, (N, K, h, w)."""
        return _logarithm(self._scores(self.masks))

    def semantic_map(self, size: tuple[int, int]) -> Tensor:
        """The scores (N, K, *size) of the classes, not normalised, for images of a size."""
        mask_size = size if self.mask_size == "image" or self.resize_first else self.mask_size
        masks = self.masks if mask_size is None else resize(self.masks, mask_size)
        return resize(self._scores(masks), size)

    def as_forward(self, size: tuple[int, int], stride: int) -> Tensor:
        return self.semantic_map(size)

    def resized(self, size: Sequence[int]) -> "MaskPrediction":
        return self

    def coarse(
        self,
        encoded: EncodedFrames,
        stride: int,
        output_sizes: Sequence[tuple[int, int]],
        upsampling: Upsampling = BY_STRIDE,
    ) -> list["CoarseMasks"]:
        mask_size = encoded.padded_size if self.mask_size == "image" else self.mask_size
        sizes = (stride, mask_size, encoded.padded_size, encoded.image_size)
        frames = zip(self.masks, self.class_probabilities(), output_sizes, strict=True)
        return [
            CoarseMasks(masks, classes, *sizes, output_size, self.resize_first)
            for masks, classes, output_size in frames
        ]

    @staticmethod
    def probabilities_of(scores: Tensor) -> Tensor:
        scores = scores.float().clamp_min(_LEAST)
        return scores / scores.sum(dim=0)

    def _scores(self, masks: Tensor) -> Tensor:
        return torch.einsum("nqk,nqhw->nkhw", self.class_probabilities(), masks.sigmoid())


def _logarithm(scores: Tensor) -> Tensor:
    return scores.clamp_min(_LEAST).log()


@dataclass(frozen=True)
class CoarseMasks(CoarseOutput):
    """The masks of a frame before they are resized: ``CoarseLogits`` of mask classification.

    Attributes:
        masks: logits (Q, h, w).
        classes: probabilities (Q, K).
        stride: of the masks, relative to the image.
        mask_size: what they are resized to before their sigmoid; None for as they are.
        padded_size, image_size: height and width of the frame with and without its padding.
        output_size: height and width of the output.
        resize_first: see ``MaskPrediction``.
    """

    masks: Tensor
    classes: Tensor
    stride: int
    mask_size: tuple[int, int] | None
    padded_size: tuple[int, int]
    image_size: tuple[int, int]
    output_size: tuple[int, int]
    resize_first: bool = False

    def parts(self) -> tuple[Tensor, ...]:
        """The tensors that everything else is made of."""
        return self.masks, self.classes

    def full_resolution(self) -> Tensor:
        """The semantic map: the scores (K, height, width) of the classes, not normalised."""
        masks = self.masks[None]
        if self.mask_size is not None:
            masks = resize(masks, self.mask_size)
        if self.resize_first:
            return self._scores(self._to_output(masks[0]))
        return self._to_output(self._scores(masks[0]))

    def label_map(self) -> Tensor:
        """The class with the largest score of every pixel: (height, width), uint8 (K <= 256)."""
        labels = self.full_resolution().argmax(dim=0)
        return labels.to(torch.uint8) if self.classes.shape[1] <= 256 else labels

    def probabilities(self) -> Tensor:
        """(K, height, width), float32; they sum to 1."""
        return MaskPrediction.probabilities_of(self.full_resolution())

    def logits(self) -> Tensor:
        """The logarithm of the semantic map, (K, height, width), float32."""
        return _logarithm(self.full_resolution().float())

    def at_stride(self) -> CoarseLogits:
        """The same with the logarithm of the semantic map at the masks' size as its logits."""
        size = (self.masks.shape[1], self.masks.shape[2])
        logits = _logarithm(self._scores(self.masks))
        return CoarseLogits(logits, size, self.stride, self.image_size, self.output_size)

    def _scores(self, masks: Tensor) -> Tensor:
        return torch.einsum("qk,qhw->khw", self.classes, masks.sigmoid())

    def _to_output(self, maps: Tensor) -> Tensor:
        """(C, h, w) of the padded frame -> (C, height, width)."""
        height, width = (
            round(cells * side / padded)
            for cells, side, padded in zip(maps.shape[-2:], self.image_size, self.padded_size)
        )
        return crop_and_resize(maps, (height, width), self.output_size)


def kind_of(source: Any) -> type[Prediction]:
    """Of a head's predictions, or a model's: logits, unless it says ``gives_logits = False``."""
    return LogitsPrediction if getattr(source, "gives_logits", True) else MaskPrediction
