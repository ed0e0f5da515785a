"""One contract over image heads: what CFFM needs of a segmentor, whatever its head.

A head is seen as two steps, ``embed`` (feature maps to one embedding per pixel) and ``classify``
(embedding to logits). CFFM refines the embedding between them.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from detectron2.projects.deeplab import DeepLabV3Head
from torch import Tensor, nn


@runtime_checkable
class PixelEmbedding(Protocol):
    """What a head offers for CFFM to work on it.

    Attributes:
        embedding_channels: C.
        embedding_stride: stride of the embedding and of the logits relative to the image.
        num_classes: K.
    """

    embedding_channels: int
    embedding_stride: int
    num_classes: int

    def embed(self, features: Mapping[str, Tensor]) -> Tensor:
        """The backbone's feature maps -> embedding (N, C, h, w)."""

    def classify(self, embedding: Tensor) -> Tensor:
        """Embedding (N, C, h, w) -> logits (N, K, h, w)."""


class LayersAndPredictor:
    """The contract for heads in detectron2's style.

    Such a head has ``layers(features)``, which ends in a convolution ``predictor``, and
    ``common_stride``. The embedding is what ``predictor`` is given. Not a module, so that the
    head's parameters keep their names.
    """

    def __init__(self, head: Any):
        self.head = head
        self.embedding_channels: int = head.predictor.in_channels
        self.embedding_stride: int = head.common_stride
        self.num_classes: int = head.predictor.out_channels

    def embed(self, features: Mapping[str, Tensor]) -> Tensor:
        given: list[Tensor] = []
        hook = self.head.predictor.register_forward_pre_hook(lambda _, args: given.append(args[0]))
        try:
            self.head.layers(features)
        finally:
            hook.remove()
        if len(given) != 1:
            raise RuntimeError(
                f"{type(self.head).__name__}.layers() called its predictor {len(given)} times, "
                "expected once"
            )
        return given[0]

    def classify(self, embedding: Tensor) -> Tensor:
        return self.head.predictor(embedding)


class DeepLabV3Embedding(LayersAndPredictor):
    """The contract for detectron2's DeepLabV3Head, which has no ``layers``."""

    def embed(self, features: Mapping[str, Tensor]) -> Tensor:
        (name,) = self.head.in_features
        return self.head.aspp(features[name])


def as_pixel_embedding(head: nn.Module) -> PixelEmbedding:
    """See a head as a ``PixelEmbedding``.

    Raises:
        TypeError: the head offers neither the contract nor detectron2's style of head.
    """
    if isinstance(head, PixelEmbedding):
        return head
    if isinstance(head, DeepLabV3Head):
        return DeepLabV3Embedding(head)
    if (
        callable(getattr(head, "layers", None))
        and isinstance(getattr(head, "predictor", None), nn.Conv2d)
        and hasattr(head, "common_stride")
    ):
        return LayersAndPredictor(head)
    raise TypeError(
        f"CFFM can't wrap the head {type(head).__name__}. A head must offer either "
        "embed(features) -> (N, C, h, w), classify(embedding) -> (N, K, h, w) and the attributes "
        "embedding_channels, embedding_stride and num_classes; or, as detectron2's heads do, "
        "layers(features) that ends in a torch.nn.Conv2d named `predictor`, and common_stride."
    )
