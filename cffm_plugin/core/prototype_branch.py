"""CFFM++'s global branch and its classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import defaults
from .prototypes import PrototypeBlock


class PrototypeBranch(nn.Module):
    """CFFM++'s global branch: the target looks at the prototypes of its whole video.

    Args:
        dim: channels of the embedding, C.
        num_classes: K.
        num_heads: attention heads; must divide ``dim``.
        dropout: channel dropout before the classifier.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_classes: int,
        num_heads: int = defaults.NUM_HEADS,
        dropout: float = defaults.DROPOUT,
    ):
        super().__init__()
        self.block = PrototypeBlock(dim, num_heads)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(dim, num_classes, kernel_size=1)

    def forward(self, target: Tensor, prototypes: Sequence[Tensor]) -> Tensor:
        """
        Args:
            target: embeddings (B, C, h, w) at the temporal module's stride.
            prototypes: of each target's video, (P, C); P may differ.

        Returns:
            logits (B, K, h, w).
        """
        if len(prototypes) == 1 or len({len(centres) for centres in prototypes}) == 1:
            refined = self.block(target, torch.stack(list(prototypes)))
        else:
            refined = torch.cat(
                [self.block(x[None], centres[None]) for x, centres in zip(target, prototypes)]
            )
        return self.classifier(self.dropout(refined))
