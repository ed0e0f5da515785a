"""Models of transformers: where each kind is taken apart.

Dense ones are taken apart as any net is; they leave the resize to their processors, straight to the
image's size. Those of mask classification are rows of a table.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..core.label_maps import Upsampling
from ..core.mask_prediction import MaskPrediction
from ..core.mask_tapping import MaskParts, take_masks_apart
from ..core.mask_targets import labelled_frames, masks_of_classes
from ..core.wrapping import take_apart
from .huggingface_adapters import (
    AllLayersMaskFormer,
    AnyGridEomt,
    RectangularDPT,
    SemanticOneFormer,
    task_of,
)
from .huggingface_files import pixel_statistics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskFamily:
    """A kind of mask classification.

    Attributes:
        parts: names of submodules of the model.
        has_criterion: whether its criterion takes masks, classes and earlier layers' of both; else
            it is trained with the cross entropy of the semantic map.
    """

    parts: MaskParts
    has_criterion: bool = True


_DECODER = "model.transformer_module.decoder"
_EOMT = MaskFamily(MaskParts("upscale_block", "mask_head", "class_predictor"))
MASK_FAMILIES = {
    "EomtForUniversalSegmentation": _EOMT,
    "EomtDinov3ForUniversalSegmentation": _EOMT,
    "Mask2FormerForUniversalSegmentation": MaskFamily(
        MaskParts(
            "model.pixel_level_module.decoder.mask_projection",
            f"{_DECODER}.mask_predictor.mask_embedder",
            "class_predictor",
            mask_size=(384, 384),  # whatever the image's, as transformers' processor does it
        )
    ),
    "MaskFormerForInstanceSegmentation": MaskFamily(
        MaskParts(
            "model.pixel_level_module.decoder.mask_projection",
            "mask_embedder",
            "class_predictor",
            mask_size=None,
        )
    ),
    "OneFormerForUniversalSegmentation": MaskFamily(
        MaskParts(
            "model.pixel_level_module.decoder.mask_projection",
            f"{_DECODER}.mask_embed",
            f"{_DECODER}.class_embed",
            mask_size=None,
        ),
        has_criterion=False,  # it wants texts of the objects in an image
    ),
}
# Classes that can't be wrapped, and why.
REFUSED = {
    "DetrForSegmentation": "it makes the mask of every query by convolutions of its own, so there "
    "is no map of mask features to refine",
    "VideomtForUniversalSegmentation": "it is a video segmentor already: it takes videos, and its "
    "queries go from frame to frame",
}
_ADAPTERS = {
    "DPTForSemanticSegmentation": RectangularDPT,
    "EomtDinov3ForUniversalSegmentation": AnyGridEomt,
    "MaskFormerForInstanceSegmentation": AllLayersMaskFormer,
}


def class_name(net: nn.Module) -> str | None:
    """The class of transformers that a model is of; None for other nets."""
    for kind in type(net).__mro__:
        if kind.__module__.startswith("transformers.models."):
            return kind.__name__
    return None


def is_model(net: nn.Module) -> bool:
    return class_name(net) is not None


def take_model_apart(
    net: Any,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    *,
    processor: Any = None,
    task_inputs: Sequence[int] | None = None,
    loss: Any = None,
    **options: Any,
) -> tuple[nn.Module, nn.Module, Any]:
    """See ``take_net_apart``."""
    name = class_name(net)
    assert name is not None
    if name in REFUSED:
        raise ValueError(f"{name} of transformers can't be wrapped: {REFUSED[name]}.")
    family = MASK_FAMILIES.get(name)
    if name == "OneFormerForUniversalSegmentation":
        adapted: nn.Module = SemanticOneFormer(net, task_of(net, processor, task_inputs))
    elif name in _ADAPTERS:
        adapted = _ADAPTERS[name](net)
    else:
        adapted = net
    prefix = "" if adapted is net else "net."
    if family is None:
        chosen = [classifier] if isinstance(classifier, str) else classifier
        chosen = chosen and [prefix + name for name in chosen]
        options.setdefault("upsampling", Upsampling(to_image=True))
        return take_apart(adapted, chosen, num_classes, loss=loss, **options)
    if classifier is not None or num_classes is not None or options.pop("upsampling", None):
        raise ValueError(
            f"{name} is of mask classification: its queries are classified, and no pixels. Leave "
            "out classifier, num_classes and upsampling"
        )
    names = {
        kind: prefix + getattr(family.parts, kind) for kind in ("features", "queries", "classes")
    }
    parts = replace(family.parts, **names)
    if loss is None and family.has_criterion:
        criterion = partial(criterion_losses, net.criterion, options.get("ignore_value", 255))
        loss = criterion
    return take_masks_apart(adapted, parts, _masks_and_classes, loss=loss, **options)


def _masks_and_classes(output: Any) -> tuple[Tensor, Tensor]:
    return output.masks_queries_logits, output.class_queries_logits


def criterion_losses(
    criterion: Any, ignore_value: int, prediction: MaskPrediction, labels: Tensor
) -> dict[str, Tensor]:
    """The weighted losses of a criterion of transformers.

    Args:
        criterion: with ``weight_dict``.
        ignore_value: label of pixels without a class.
        prediction: of N frames. Frames without a labelled pixel count nowhere.
        labels: (N, H, W) int64.
    """
    frames, scale = labelled_frames(labels, ignore_value)
    targets = [masks_of_classes(labels[n], ignore_value) for n in frames]
    classes_of, masks_of = [c for c, _ in targets], [m.float() for _, m in targets]
    earlier = [
        {"masks_queries_logits": masks[frames], "class_queries_logits": classes[frames]}
        for masks, classes in prediction.auxiliary
    ]
    losses = criterion(
        prediction.masks[frames], prediction.classes[frames], masks_of, classes_of, earlier
    )
    weights = criterion.weight_dict  # by the beginnings of names: layers are numbered
    return {
        name: scale * next(w for key, w in weights.items() if name.startswith(key)) * loss
        for name, loss in losses.items()
    }


def images_of(processor: Any) -> dict[str, Any]:
    """What a processor does to pixels, as arguments of ``assemble_segmentor``; {} for none.

    Raises:
        ValueError: it does more than to normalise each channel.
    """
    if processor is None:
        return {}
    processor = getattr(processor, "image_processor", processor)
    statistics = pixel_statistics(processor)
    if statistics is None:
        raise ValueError(
            f"What {type(processor).__name__} makes of pixels is no mean and standard deviation of "
            "each channel. Pass pixel_mean, pixel_std and image_format, and no processor."
        )
    if getattr(processor, "do_reduce_labels", False):
        logger.warning(
            "%s takes 1 from every label, and 0 for no class: the model's class k is label k + 1 "
            "of its dataset. Masks to train with are mapped so first (label_mapping: from_1).",
            type(processor).__name__,
        )
    mean, std, order = statistics
    return {"pixel_mean": mean, "pixel_std": std, "image_format": order}
