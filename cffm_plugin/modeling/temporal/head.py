"""What CFFMSegmentor adds to an image segmentor: CFFM, CFFM++'s branch, and their classifiers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from ...core import CFFM, PrototypeBlock


class TemporalHead(nn.Module):
    """CFFM and the classifier of its result (CFFM, section 3.1).

    Args:
        cffm: the temporal module.
        num_classes: K.
        dropout: channel dropout before the classifier.
        stride: of the embedding that ``cffm`` works on, relative to the image.
        embedding_channels: of the image head's embedding; None where they are ``cffm.dim``.
            Another number is brought to ``cffm.dim`` by a learned 1x1 projection.
    """

    @configurable
    def __init__(
        self,
        cffm: CFFM,
        *,
        num_classes: int,
        dropout: float = 0.1,
        stride: int = 8,
        embedding_channels: int | None = None,
    ):
        super().__init__()
        self.projection: nn.Conv2d | None = None
        if embedding_channels is not None and embedding_channels != cffm.dim:
            self.projection = nn.Conv2d(embedding_channels, cffm.dim, kernel_size=1)
        self.cffm = cffm
        self.stride = stride
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(2 * cffm.dim, num_classes, kernel_size=1)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, *, embedding_channels: int, num_classes: int
    ) -> dict[str, Any]:
        node, temporal = cfg.MODEL.CFFM, cfg.MODEL.TEMPORAL
        if len(temporal.FRAME_OFFSETS) != len(node.REFERENCE_POOLS):
            raise ValueError(
                "MODEL.CFFM: FRAME_OFFSETS, REFERENCE_POOLS and REFERENCE_KERNELS hold one number "
                f"per reference frame, got {temporal.FRAME_OFFSETS} and {node.REFERENCE_POOLS}"
            )
        # Attention heads share the channels evenly: other widths are projected to the next that do.
        dim = -(-embedding_channels // node.NUM_HEADS) * node.NUM_HEADS
        cffm = CFFM(
            dim,
            node.DEPTH,
            num_heads=node.NUM_HEADS,
            window_size=node.WINDOW_SIZE,
            reference_pools=node.REFERENCE_POOLS,
            reference_kernels=node.REFERENCE_KERNELS,
            target_kernel=node.TARGET_KERNEL,
            mlp_ratio=node.MLP_RATIO,
        )
        return {
            "cffm": cffm,
            "num_classes": num_classes,
            "dropout": temporal.DROPOUT,
            "stride": temporal.STRIDE,
            "embedding_channels": embedding_channels,
        }

    def resample(self, embedding: Tensor, embedding_stride: int) -> Tensor:
        """The image head's embedding -> what CFFM works on.

        Args:
            embedding: (N, embedding_channels, h, w).
            embedding_stride: relative to the image.

        Returns:
            (N, cffm.dim, h', w') at this module's stride; sides are rounded down.
        """
        if embedding_stride != self.stride:
            size = [max(1, side * embedding_stride // self.stride) for side in embedding.shape[2:]]
            embedding = F.interpolate(embedding, size=size, mode="bilinear", align_corners=False)
        return embedding if self.projection is None else self.projection(embedding)

    def classify(self, target: Tensor, refined: Tensor) -> Tensor:
        """The target's embedding and its refinement, (N, C, h, w) each -> logits (N, K, h, w)."""
        return self.classifier(self.dropout(torch.cat([target, refined], dim=1)))

    def forward(self, clip: Tensor) -> Tensor:
        """Embeddings (B, T, C, h, w) at this module's stride -> target logits (B, K, h, w)."""
        return self.classify(clip[:, -1], self.cffm(clip))


class PrototypeBranch(nn.Module):
    """CFFM++'s global branch: the target looks at the prototypes of its whole video.

    Args:
        dim: channels of the embedding, C.
        num_classes: K.
        num_heads: attention heads; must divide ``dim``.
        dropout: channel dropout before the classifier.
    """

    @configurable
    def __init__(self, dim: int, *, num_classes: int, num_heads: int = 8, dropout: float = 0.1):
        super().__init__()
        self.block = PrototypeBlock(dim, num_heads)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(dim, num_classes, kernel_size=1)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, dim: int, num_classes: int) -> dict[str, Any]:
        return {
            "dim": dim,
            "num_classes": num_classes,
            "num_heads": cfg.MODEL.CFFM.NUM_HEADS,
            "dropout": cfg.MODEL.TEMPORAL.DROPOUT,
        }

    def forward(self, target: Tensor, prototypes: Sequence[Tensor]) -> Tensor:
        """
        Args:
            target: embeddings (B, C, h, w) at the temporal module's stride.
            prototypes: of each target's video, (P, C); P may differ.

        Returns:
            logits (B, K, h, w).
        """
        if len({len(of_video) for of_video in prototypes}) == 1:
            refined = self.block(target, torch.stack(list(prototypes)))
        else:
            refined = torch.cat(
                [self.block(x[None], of_video[None]) for x, of_video in zip(target, prototypes)]
            )
        return self.classifier(self.dropout(refined))
