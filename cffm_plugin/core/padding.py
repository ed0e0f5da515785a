"""Images of a batch, brought to one size that the backbone takes."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_one_size(
    images: Sequence[Tensor],
    divisibility: int = 0,
    value: float = 0.0,
    constraints: Mapping[str, int] | None = None,
) -> Tensor:
    """
    Args:
        images: N tensors (..., H, W), of any sizes.
        divisibility: what sides are padded to a multiple of; 0 or 1 for any.
        value: of the padding, which is at the bottom and the right.
        constraints: detectron2's, of a backbone: ``square_size``, a side that both are padded to,
            and ``size_divisibility``, which goes before ``divisibility``.

    Returns:
        (N, ..., H', W').

    Raises:
        ValueError: an image is larger than ``square_size``.
    """
    height = max(image.shape[-2] for image in images)
    width = max(image.shape[-1] for image in images)
    constraints = constraints or {}
    square = constraints.get("square_size", 0)
    if square > 0:
        if max(height, width) > square:
            raise ValueError(
                f"An image of {height}x{width} pixels; the image segmentor takes {square}x{square} "
                "and no more. Make it smaller first, in streams by StreamingSegmentor(resize=...)."
            )
        height = width = square
    unit = max(1, constraints.get("size_divisibility", divisibility))
    height, width = -(-height // unit) * unit, -(-width // unit) * unit
    padded = [
        F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]), value=value)
        for image in images
    ]
    return torch.stack(padded)
