"""How a refined embedding becomes logits: MODEL.TEMPORAL.OUTPUT."""

import torch
from torch import Tensor, nn

from ..encoded import EncodedFrames
from ..heads import HeadEmbedding


class ClassifierOutput(nn.Module):
    """The paper's: target and refined embedding through a classifier of their own (section 3.1).

    Args:
        dim: channels of the temporal module.
        num_classes: K.
        dropout: channel dropout before the classifier.
    """

    def __init__(self, dim: int, *, num_classes: int, dropout: float = 0.1):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(2 * dim, num_classes, kernel_size=1)

    def forward(self, target: EncodedFrames, refined: Tensor, head: HeadEmbedding) -> Tensor:
        """
        Args:
            target: N frames.
            refined: their cells after the temporal module, (N, dim, h', w').
            head: of the image segmentor.

        Returns:
            logits (N, K, h', w').
        """
        return self.classifier(self.dropout(torch.cat([target.cells, refined], dim=1)))


OUTPUTS: dict[str, type[nn.Module]] = {"classifier": ClassifierOutput}


def build_output(name: str, dim: int, *, num_classes: int, dropout: float) -> nn.Module:
    """The output of a name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in OUTPUTS:
        raise ValueError(f"MODEL.TEMPORAL.OUTPUT is one of {', '.join(OUTPUTS)}; got {name!r}")
    return OUTPUTS[name](dim, num_classes=num_classes, dropout=dropout)
