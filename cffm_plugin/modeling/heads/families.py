"""The families of heads that are seen as an embedding though they do not offer one by name."""

import logging
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...core.head_embedding import Features, HeadEmbedding, evaluating, hooked
from .mask_classification import MaskClassificationEmbedding, NoClassesError

logger = logging.getLogger(__name__)


class PredictorEmbedding(HeadEmbedding):
    """Heads in detectron2's style: ``layers(features)`` ends in a convolution ``predictor``.

    The embedding is what ``predictor`` is given; ``common_stride`` is its stride.
    """

    offers = "layers and predictor"

    @staticmethod
    def fits(head: nn.Module) -> bool:
        return callable(getattr(head, "layers", None)) and isinstance(
            getattr(head, "predictor", None), nn.Conv2d
        )

    def embed(self, features: Features) -> tuple[Tensor, None]:
        given: list[Tensor] = []
        hook = self.head.predictor.register_forward_pre_hook(lambda _, args: given.append(args[0]))
        with hooked([hook]):
            self.head.layers(features)
        if len(given) != 1:
            raise RuntimeError(
                f"{type(self.head).__name__}.layers() called its predictor {len(given)} times, "
                "expected once"
            )
        return given[0], None

    def classify(self, embedding: Tensor, context: Any) -> Tensor:
        return self.head.predictor(embedding)

    def _stated_sizes(self) -> tuple[int | None, int | None, int | None]:
        predictor = self.head.predictor
        stride = getattr(self.head, "common_stride", None)
        return predictor.in_channels, stride, predictor.out_channels

    def _fit_labels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Void where the cells of the logits reach beyond the image: they are compared 1 to 1."""
        height, width = (self.stride * cells for cells in logits.shape[-2:])
        bottom, right = max(0, height - labels.shape[1]), max(0, width - labels.shape[2])
        return F.pad(labels, (0, right, 0, bottom), value=self.ignore_value)


class DeepLabV3Embedding(PredictorEmbedding):
    """detectron2's DeepLabV3Head, which has no ``layers``."""

    @staticmethod
    def fits(head: nn.Module) -> bool:
        from detectron2.projects.deeplab import DeepLabV3Head

        return isinstance(head, DeepLabV3Head)

    def embed(self, features: Features) -> tuple[Tensor, None]:
        (name,) = self.head.in_features
        return self.head.aspp(features[name]), None


class LogitsEmbedding(HeadEmbedding):
    """Heads that offer nothing but ``forward(features, targets) -> (logits, losses)``.

    Their logits are the embedding, and the temporal module works on class scores. The image
    prediction is trained by the losses that ``forward`` gives.
    """

    is_forward = True

    def __init__(self, head: Any, backbone: nn.Module, image_channels: int = 3):
        super().__init__(head, backbone, image_channels)
        logger.warning(
            "%s offers its logits alone, so the temporal module works on %d class scores a pixel. "
            "On an embedding it has more to go by: give the head embed(features) -> (embedding, "
            "context) and classify(embedding, context) -> logits, or, as detectron2's heads, "
            "layers(features) that ends in a torch.nn.Conv2d named `predictor`.",
            type(head).__name__,
            self.channels,
        )

    def embed(self, features: Features) -> tuple[Tensor, None]:
        with evaluating(self.head):  # in training, forward gives losses and no logits
            logits = self.head(features)
        return (logits[0] if isinstance(logits, tuple) else logits), None

    def classify(self, embedding: Tensor, context: Any) -> Tensor:
        return embedding

    def image_losses(
        self, features: Features, embedding: Tensor, context: Any, labels: Tensor
    ) -> dict[str, Tensor]:
        if self.head.training:
            return self.losses_of_forward(features, labels)
        return self.losses(embedding, labels)

    def _has_losses(self) -> bool:
        return False  # they would be for logits of another size than forward's

    def _stated_sizes(self) -> tuple[None, None, None]:
        return None, None, None


def embedding_of(
    head: nn.Module, backbone: nn.Module, image_channels: int = 3, **mask_options: Any
) -> HeadEmbedding:
    """See a head as its embedding, in the best way that it offers.

    Args:
        head, backbone, image_channels: as of ``HeadEmbedding``.
        **mask_options: of ``MaskClassificationEmbedding``, for heads seen as such.

    Raises:
        ValueError: as of these.
    """
    if all(callable(getattr(head, name, None)) for name in ("embed", "classify")):
        return HeadEmbedding(head, backbone, image_channels)
    for family in (DeepLabV3Embedding, PredictorEmbedding):
        if family.fits(head):
            return family(head, backbone, image_channels)
    if MaskClassificationEmbedding.fits(head):
        try:
            return MaskClassificationEmbedding(head, backbone, image_channels, **mask_options)
        except NoClassesError:
            pass
    return LogitsEmbedding(head, backbone, image_channels)
