"""Whether a head, seen as its embedding, gives what it gives by itself."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .encoded import size_of
from .head_embedding import HeadEmbedding, evaluating
from .mask_prediction import MaskPrediction
from .prediction import as_prediction

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of the largest logit


def check_agreement(head: HeadEmbedding, backbone: Any, largest_side: int = 64) -> None:
    """Compare ``classify(embed(x))`` with the head's own ``forward(x)`` on random feature maps.

    Args:
        head: of a segmentor.
        backbone: whose feature maps are imitated.
        largest_side: in pixels, of the images that the maps are of where the head takes no maps of
            small ones, as heads that pool over windows of the training crop.

    On small maps: a fiftieth of a frame's work. Nothing is compared on the device "meta".

    Raises:
        ValueError: they differ. A temporal module would refine something that the head's own
            prediction is not made of, and streams would differ from the model's ``forward``.
    """
    parameter = next(head.head.parameters(), None)
    if head.is_forward or (parameter is not None and parameter.is_meta):
        return  # forward is all that there is; or there are no values
    try:
        own, ours = _both_logits(head, backbone, 64)
    except (RuntimeError, ValueError, AssertionError):
        own, ours = _both_logits(head, backbone, largest_side)
    name = type(head.head).__name__
    difference = math.inf
    if own.shape == ours.shape:
        difference = float((own - ours).abs().max() / own.abs().max().clamp(min=1e-6))
    if difference > max(TOLERANCE, 4 * torch.finfo(own.dtype).eps):  # also of half precision
        how_much = (
            f"its shape is {tuple(own.shape)} against {tuple(ours.shape)}"
            if own.shape != ours.shape
            else f"they differ by up to {float((own - ours).abs().max()):.3g}, of logits up to "
            f"{float(own.abs().max()):.3g}"
        )
        raise ValueError(
            f"{name}.forward gives other logits than the embedding and classifier that it offers "
            f"({head.offers}), "
            f"resized by {head.stride} (bilinear): {how_much}. A temporal module would refine "
            "what the head's own prediction is not made of. Make forward their result; or hide "
            "them, by a subclass with forward alone, so that the head's logits are refined."
        )


def ensure_agreement(head: HeadEmbedding, backbone: Any) -> None:
    """``check_agreement`` with the weights that are there, once for every head.

    A head that takes no maps of small images is only warned of: nobody knows which it takes.
    """
    if head.agrees:
        return
    try:
        check_agreement(head, backbone, head.smallest_side)
    except (RuntimeError, AssertionError) as error:
        logger.warning(
            "%s: whether its forward gives what it offers (%s) could not be tried on an image of "
            "%d pixels: %s",
            type(head.head).__name__,
            head.offers,
            head.smallest_side,
            error,
        )
    head.agrees = True


@torch.no_grad()
def _both_logits(head: HeadEmbedding, backbone: Any, side: int) -> tuple[Tensor, Tensor]:
    """The head's own logits, and those of its embedding, of random feature maps."""
    parameter = next(head.head.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    features = {}
    for name, shape in backbone.output_shape().items():
        cells = math.ceil(side / shape.stride)
        feature = torch.randn(1, shape.channels, cells, cells, generator=generator)
        features[name] = feature.to(parameter)
    with evaluating(head.head):
        own = head.head(features)
        ours = as_prediction(head.classify(*head.embed(features)))
    if isinstance(own, Mapping):  # of mask classification, as MaskFormer's heads give it
        own = MaskPrediction(own["pred_masks"], own["pred_logits"])
    given = as_prediction(own[0] if isinstance(own, tuple) else own)
    if given.is_map:
        return given.logits(), ours.logits()
    return given.logits(), ours.as_forward(size_of(given.logits()), head.stride)
