"""What a segmentor gives for a batch of clips."""

import torch
from torch import Tensor


class SegmentorOutput(dict[str, Tensor]):
    """What a batch of clips gives: a dict, as trainers of other libraries expect it.

    Attributes:
        loss: the sum of ``losses``, to call ``backward()`` of; None without labels. Also an item.
        losses: by name; empty without labels.
        logits: of the targets, (B, K, H, W), at the size of the frames; scores of classes from 0
            where ``gives_logits`` is False. None in training. Also an item.
    """

    def __init__(self, losses: dict[str, Tensor] | None = None, logits: Tensor | None = None):
        super().__init__()
        self.losses = losses or {}
        if losses:
            self["loss"] = torch.stack([*losses.values()]).sum()
        if logits is not None:
            self["logits"] = logits

    @property
    def loss(self) -> Tensor | None:
        return self.get("loss")

    @property
    def logits(self) -> Tensor | None:
        return self.get("logits")

    @property
    def labels(self) -> Tensor | None:
        """The class of every pixel of the targets, (B, H, W) int64; None in training."""
        return None if self.logits is None else self.logits.argmax(dim=1)
