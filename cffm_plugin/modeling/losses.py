"""The cross entropy that CFFM is trained with."""

import torch.nn.functional as F
from torch import Tensor


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
    """Cross entropy at the labels' resolution, averaged over *all* pixels.

    Ignored pixels add nothing to the sum but count in the denominator, so that a clip with few
    labelled pixels weighs less.

    Args:
        logits: (N, K, h, w); resized bilinearly to the labels' size.
        labels: (N, H, W) int64, classes 0..K-1 or ``ignore_value``.
        ignore_value: label of pixels without a class.

    Returns:
        a scalar, float32; 0 where every pixel is ignored.
    """
    logits = F.interpolate(
        logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    loss = F.cross_entropy(logits, labels, ignore_index=ignore_value, reduction="sum")
    return loss / labels.numel()
