"""What ClipSegmentor adds to an image segmentor: a temporal module and its output."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from . import defaults
from .outputs import build_output


class TemporalHead(nn.Module):
    """A temporal module, and how its result becomes logits (CFFM, section 3.1).

    Args:
        module: offers the contract ``TemporalModule``, such as ``cffm_plugin.CFFM``.
        num_classes: K.
        output: how logits are made, a name in ``OUTPUTS``.
        dropout: channel dropout before the output's classifier.
        stride: of the embedding that ``module`` works on, relative to the image.
        embedding_channels: of the image head's embedding; None where they are ``module.dim``.
            Another number is brought to ``module.dim`` by a learned 1x1 projection.
    """

    def __init__(
        self,
        module: Any,
        *,
        num_classes: int,
        output: str = defaults.OUTPUT,
        dropout: float = defaults.DROPOUT,
        stride: int = defaults.STRIDE,
        embedding_channels: int | None = None,
    ):
        super().__init__()
        channels = module.dim if embedding_channels is None else embedding_channels
        self.projection: nn.Conv2d | None = None
        if channels != module.dim:
            self.projection = nn.Conv2d(channels, module.dim, kernel_size=1)
        self.module = module
        self.stride = stride
        self.output = build_output(
            output, module, num_classes=num_classes, dropout=dropout, embedding_channels=channels
        )

    def resample(self, embedding: Tensor, embedding_stride: int) -> Tensor:
        """The image head's embedding -> what the temporal module works on.

        Args:
            embedding: (N, embedding_channels, h, w).
            embedding_stride: relative to the image.

        Returns:
            (N, module.dim, h', w') at this head's stride; sides are rounded down.
        """
        if embedding_stride != self.stride:
            size = [max(1, side * embedding_stride // self.stride) for side in embedding.shape[2:]]
            embedding = F.interpolate(embedding, size=size, mode="bilinear", align_corners=False)
        return embedding if self.projection is None else self.projection(embedding)
