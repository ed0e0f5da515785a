"""The cross entropy that CFFM is trained with."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .label_maps import band_bytes, resizing


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
    """Cross entropy at the labels' resolution, averaged over *all* pixels.

    Ignored pixels add nothing to the sum but count in the denominator, so that a clip with few
    labelled pixels weighs less.

    Neither the logits at the labels' resolution nor their probabilities are ever held whole: they
    are made band by band, and the gradient of a band with them.

    Args:
        logits: (N, K, h, w); resized bilinearly to the labels' size.
        labels: (N, H, W) int64, classes 0..K-1 or ``ignore_value``.
        ignore_value: label of pixels without a class.

    Returns:
        a scalar, float32; 0 where every pixel is ignored.

    Raises:
        ValueError: a label is neither a class nor ``ignore_value``.
    """
    with torch.autocast(logits.device.type, enabled=False):
        total: Tensor = _BandedCrossEntropy.apply(logits.float(), labels, ignore_value)
    return total / labels.numel()


class _BandedCrossEntropy(torch.autograd.Function):
    """The sum of ``F.cross_entropy(F.interpolate(logits, labels.shape[1:]), labels)``."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
        num_classes, height, width = logits.shape[1:]
        is_class = labels != ignore_value
        classes = torch.where(is_class, labels, 0)
        if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(
                f"labels are 0..{num_classes - 1} or {ignore_value}, got "
                f"{int(classes.min())}..{int(classes.max())}. The head has "
                f"num_classes {num_classes} and ignore_value {ignore_value} (of a config: "
                "MODEL.SEM_SEG_HEAD.NUM_CLASSES and IGNORE_VALUE); void in this package's datasets "
                "is 255."
            )
        vertical = resizing(height, labels.shape[1], logits.device)
        horizontal = resizing(width, labels.shape[2], logits.device).matrix
        needs_gradient = ctx.needs_input_grad[0]
        gradient = torch.empty_like(logits) if needs_gradient else None
        rows = max(1, band_bytes(logits.device) // (4 * num_classes * labels.shape[2]))
        total = logits.new_zeros((), dtype=torch.float64)
        for n in range(len(logits)):
            wide = logits[n] @ horizontal.T  # (K, h, W)
            wide_gradient = torch.zeros_like(wide)
            for stripe, inputs in vertical.stripes:
                for top in range(stripe.start, stripe.stop, rows):
                    band = slice(top, min(top + rows, stripe.stop))
                    matrix = vertical.matrix[band, inputs]
                    band_logits = torch.matmul(matrix, wide[:, inputs])  # (K, rows, W)
                    total += _sum_and_gradient(band_logits, classes[n, band], is_class[n, band])
                    if needs_gradient:
                        wide_gradient[:, inputs] += torch.matmul(matrix.T, band_logits)
            if gradient is not None:
                gradient[n] = wide_gradient @ horizontal
        ctx.save_for_backward(gradient)
        return total.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


def _sum_and_gradient(logits: Tensor, classes: Tensor, is_class: Tensor) -> Tensor:
    """The summed cross entropy of a band; ``logits`` (K, h, w) become its gradient, in place."""
    logits -= logits.amax(dim=0)
    at_class = logits.gather(0, classes[None])[0]
    logits.exp_()
    denominator = logits.sum(dim=0)
    total = torch.where(is_class, denominator.log() - at_class, 0).sum(dtype=torch.float64)
    logits *= is_class / denominator
    logits.scatter_add_(0, classes[None], -is_class[None].to(logits.dtype))
    return total
