"""What a segmentor gives for a batch of clips."""

from typing import Any

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

    losses: dict[str, Tensor]

    def __init__(self, items: Any = (), losses: dict[str, Tensor] | None = None):
        super().__init__(items)  # as a dict, so that DataParallel can put parts together
        self.losses = losses or {}

    @classmethod
    def of(cls, losses: dict[str, Tensor], logits: Tensor | None = None) -> "SegmentorOutput":
        """
        Args:
            losses: by name; empty for none.
            logits: of the targets, if there are any.
        """
        items: dict[str, Tensor] = {}
        if losses:
            items["loss"] = torch.stack([*losses.values()]).sum()
        if logits is not None:
            items["logits"] = logits
        return cls(items, losses)

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
