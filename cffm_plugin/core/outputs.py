"""How a refined embedding becomes logits: MODEL.TEMPORAL.OUTPUT."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .encoded import EncodedFrames
from .head_embedding import HeadEmbedding
from .label_maps import resize
from .temporal_module import TemporalModule


class ClassifierOutput(nn.Module):
    """The paper's: target and refined embedding through a classifier of their own (section 3.1).

    What the authors' weights need. It starts from nothing, and its logits are at the temporal
    module's stride.

    Args:
        module: the temporal module.
        num_classes: K.
        dropout: channel dropout before the classifier.
        embedding_channels: of the image head's embedding.
    """

    def __init__(
        self,
        module: TemporalModule,
        *,
        num_classes: int,
        dropout: float = 0.1,
        embedding_channels: int,
    ):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(2 * module.dim, num_classes, kernel_size=1)

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


class RefinedOutput(nn.Module):
    """The refined embedding alone through a classifier of its own; and, in training, each of the
    module's auxiliary maps through one of its.

    Args: as ``ClassifierOutput``; every classifier has its own dropout.
    """

    def __init__(
        self,
        module: TemporalModule,
        *,
        num_classes: int,
        dropout: float = 0.1,
        embedding_channels: int,
    ):
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(module.dim, num_classes, kernel_size=1)
        self.auxiliary = nn.ModuleList(
            nn.Conv2d(module.dim, num_classes, kernel_size=1) for _ in range(module.num_auxiliary)
        )

    def forward(self, target: EncodedFrames, refined: Tensor, head: HeadEmbedding) -> Tensor:
        """As ``ClassifierOutput``."""
        return self.classifier(self.dropout(refined))

    def auxiliary_logits(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Logits (N, K, h', w') of each auxiliary map (N, dim, h', w').

        Raises:
            ValueError: the module gave another number of them than it said.
        """
        if len(maps) != len(self.auxiliary):
            raise ValueError(
                f"the temporal module says num_auxiliary {len(self.auxiliary)}, and gave "
                f"{len(maps)} auxiliary maps in training"
            )
        return [classify(self.dropout(x)) for classify, x in zip(self.auxiliary, maps)]


class RefineOutput(nn.Module):
    """What the temporal module changed, added to the head's own embedding at the head's own stride;
    the head's own classifier decides.

    There is no second classifier, and before the first step of training the video segmentor *is*
    the image segmentor, bit for bit: the module starts as the identity if it knows how to, see
    ``TemporalModule.start_as_identity``, as CFFM does; otherwise, and where its width is not the
    embedding's, its change goes through a 1x1 convolution that starts at zero.

    Args: as ``ClassifierOutput``; ``dropout`` is not used, the head has its own.
    """

    def __init__(
        self,
        module: TemporalModule,
        *,
        num_classes: int,
        dropout: float = 0.0,
        embedding_channels: int,
    ):
        super().__init__()
        self.expand: Any = None
        if module.dim != embedding_channels or not module.start_as_identity():
            self.expand = nn.Conv2d(module.dim, embedding_channels, kernel_size=1)
            nn.init.zeros_(self.expand.weight)
            nn.init.zeros_(self.expand.bias)

    def forward(self, target: EncodedFrames, refined: Tensor, head: HeadEmbedding) -> Tensor:
        """As ``ClassifierOutput``, but the logits are at the head's stride, (N, K, h, w)."""
        change = refined - target.cells
        if self.expand is not None:
            change = self.expand(change)
        change = resize(change, target.embedding.shape[-2:])
        return head.classify(target.embedding + change, target.context)


OUTPUTS: dict[str, type[nn.Module]] = {
    "classifier": ClassifierOutput,
    "refined": RefinedOutput,
    "refine": RefineOutput,
}


def build_output(name: str, module: TemporalModule, **arguments: Any) -> nn.Module:
    """The output of a name, for a temporal module.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in OUTPUTS:
        raise ValueError(
            f"output (MODEL.TEMPORAL.OUTPUT) is one of {', '.join(OUTPUTS)}; got {name!r}"
        )
    return OUTPUTS[name](module, **arguments)
