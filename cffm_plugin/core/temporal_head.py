"""What ClipSegmentor adds to an image segmentor: a temporal module and its output."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from . import defaults
from .outputs import build_output
from .temporal_module import FrameFeatures, TemporalModule, check_temporal_module


class TemporalHead(nn.Module):
    """A temporal module, and how its result becomes logits (CFFM, section 3.1).

    Args:
        module: a ``WindowedModule``, such as ``cffm_plugin.CFFM``, or a ``RecurrentModule``.
        num_classes: K.
        output: how logits are made, a name in ``OUTPUTS``.
        dropout: channel dropout before the output's classifier.
        stride: of the embedding that ``module`` works on, relative to the image.
        embedding_channels: of the image head's embedding; None where they are ``module.dim``.
            Another number is brought to ``module.dim`` by a learned 1x1 projection.

    Raises:
        ValueError: ``module`` is no temporal module, or there is no such output.
    """

    def __init__(
        self,
        module: TemporalModule,
        *,
        num_classes: int,
        output: str = defaults.OUTPUT,
        dropout: float = defaults.DROPOUT,
        stride: int = defaults.STRIDE,
        embedding_channels: int | None = None,
    ):
        super().__init__()
        check_temporal_module(module)
        channels = module.dim if embedding_channels is None else embedding_channels
        self.projection: nn.Conv2d | None = None
        if channels != module.dim:
            self.projection = nn.Conv2d(channels, module.dim, kernel_size=1)
        self.module = module
        self.stride = stride
        self.output = build_output(
            output, module, num_classes=num_classes, dropout=dropout, embedding_channels=channels
        )

    def features(
        self, embedding: Tensor, embedding_stride: int, levels: Mapping[str, Tensor], image: Tensor
    ) -> FrameFeatures:
        """What the temporal module gets of N frames.

        Args:
            embedding: the image head's, (N, embedding_channels, h, w).
            embedding_stride: relative to the image.
            levels: the backbone's maps, by name.
            image: as the backbone sees it, (N, 3, H, W).
        """
        return FrameFeatures(
            self.resample(embedding, embedding_stride),
            tuple(levels[name] for name in self.module.levels),
            image if self.module.takes_image else None,
        )

    def resample(self, embedding: Tensor, embedding_stride: int) -> Tensor:
        """The image head's embedding -> what the temporal module works on.

        Args:
            embedding: (N, embedding_channels, h, w).
            embedding_stride: relative to the image.

        Returns:
            (N, module.dim, h', w') on the module's grid, by default at this head's stride; sides
            are rounded down.
        """
        height, width = embedding.shape[2:]
        if embedding_stride != self.stride:
            height, width = (max(1, n * embedding_stride // self.stride) for n in (height, width))
        grid = self.module.cell_grid(height, width)
        if grid != tuple(embedding.shape[2:]):
            embedding = F.interpolate(embedding, size=grid, mode="bilinear", align_corners=False)
        return embedding if self.projection is None else self.projection(embedding)
