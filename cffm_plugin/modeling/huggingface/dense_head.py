"""The heads of Hugging Face's models that give every pixel its class scores."""

from collections.abc import Sequence

from torch import Tensor, nn

from ...core.head_embedding import Features
from ...core.label_maps import upsample
from ...core.losses import pixel_cross_entropy


class HFDenseHead(nn.Module):
    """A decode head whose last layer, a 1x1 convolution, makes logits of the embedding.

    Trained with the cross entropy over all pixels. Auxiliary heads are left out.

    Args:
        decoder: an encoder's maps -> the embedding (N, C, h, w).
        predictor: the classifier, C -> K channels.
        stride: of the embedding relative to the image.
        ignore_value: label of pixels without a class.

    Attributes:
        brings_weights: whether it was built with trained weights.
    """

    brings_weights = False

    def __init__(self, decoder: nn.Module, predictor: nn.Conv2d, *, stride: int, ignore_value: int):
        super().__init__()
        self.decoder = decoder
        self.predictor = predictor
        self.embedding_channels = predictor.in_channels
        self.embedding_stride = stride
        self.num_classes = predictor.out_channels
        self.ignore_value = ignore_value

    def embed(self, features: Features) -> tuple[Tensor, None]:
        """The backbone's maps -> the embedding (N, C, h, w), and no context."""
        return self.decoder(tuple(features.values())), None

    def classify(self, embedding: Tensor, context: None) -> Tensor:
        """(N, C, h, w) -> logits (N, K, h, w)."""
        return self.predictor(embedding)

    def forward(
        self, features: Features, targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """As detectron2's heads: in training losses, otherwise logits at the image's size."""
        logits = self.classify(*self.embed(features))
        if self.training:
            assert targets is not None
            return None, {"loss_sem_seg": pixel_cross_entropy(logits, targets, self.ignore_value)}
        return upsample(logits, self.embedding_stride), {}


class DPTDecoder(nn.Module):
    """DPT's fusion of maps, and its head.

    Args:
        neck: maps -> fused maps, coarsest first.
        head: fused maps -> the embedding.
    """

    def __init__(self, neck: nn.Module, head: nn.Module):
        super().__init__()
        self.neck = neck
        self.head = head

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.head(self.neck(list(maps)))
