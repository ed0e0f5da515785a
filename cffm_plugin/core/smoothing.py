"""Averaging probabilities over the frames of a stream: what a sceptic tries before any module.

It raises video consistency of any model for nothing, and blurs what moves: the baseline that a
temporal module must beat in accuracy and consistency together.
"""

import torch
from torch import Tensor

_LEAST = torch.finfo(torch.float32).tiny  # so that no logarithm is infinite


def check_smoothing(weight: float, streaming: bool = True) -> None:
    """
    Raises:
        ValueError: it is no share below 1; or there is smoothing, and no stream.
    """
    if not 0.0 <= weight < 1.0:
        raise ValueError(
            "smoothing (TEST.SMOOTHING) is the share of the past in every frame, 0 (none) to below "
            f"1; got {weight}"
        )
    if weight and not streaming:
        raise ValueError(
            "TEST.SMOOTHING averages over the frames of a stream: it needs TEST.STREAMING True and "
            "TEST.AUG.ENABLED False"
        )


def smooth(logits: Tensor, past: Tensor | None, weight: float) -> tuple[Tensor, Tensor]:
    """The exponential moving average of a stream's class probabilities.

    Args:
        logits: of a frame, (K, h, w).
        past: the average up to the frame before, (K, h, w); None at the first frame.
        weight: a, its share: the average is a * past + (1 - a) * softmax(logits).

    Returns:
        the logarithm of the average, which stands in for ``logits``; and the average, the next
        frame's ``past``. Both float32.
    """
    average = logits.float().softmax(dim=0)
    if past is not None:
        average = torch.lerp(average, past, weight)
    return average.clamp_min(_LEAST).log(), average
