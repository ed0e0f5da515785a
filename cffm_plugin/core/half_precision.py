"""A copy of a segmentor that computes in half precision, its weights cast once."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .clip_segmentor import ClipSegmentor
from .half_maps import (
    cast,
    forget_what_stayed,
    maps_of,
    maps_that_are_off,
    say_what_is_off,
    stay_in_float32,
)
from .segformer import SegFormerHead, is_batch_norm

PARTS = ("backbone", "head", "temporal")

logger = logging.getLogger(__name__)


def half_precision_copy(
    model: ClipSegmentor, dtype: torch.dtype, float32_parts: Sequence[str] = ()
) -> ClipSegmentor:
    """A copy for inference, whose large products are in ``dtype``.

    What is added up or compared stays in float32: norms, residuals and patch embeddings of MiT;
    SegFormerHead, which has little arithmetic; the temporal module's norms, recall and residuals;
    logits and all that is made of them. Backbones and temporal modules say by a method
    ``compute_in(dtype)`` what of them may be cast. A backbone without it computes in ``dtype``
    altogether, but for batch norms; a temporal module stays as it is by default, and so does
    CFFM++'s branch. Other heads than SegFormerHead run under ``torch.autocast``.

    Every convolution and linear map that would compute in ``dtype`` is tried on this device with a
    small input. What is off by more than rounding explains, or whose weights ``dtype`` has no range
    for, stays in float32, and the log names it.

    Args:
        model: it is left as it is.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
        float32_parts: which of "backbone", "head" and "temporal" are left in float32, where a model
            is sensitive there.

    Raises:
        ValueError: an unknown part.
    """
    unknown = set(float32_parts) - set(PARTS)
    if unknown:
        raise ValueError(
            f"TEST.FLOAT32_PARTS (float32_parts) are of {', '.join(PARTS)}; got {sorted(unknown)}"
        )
    half = copy.deepcopy(model).eval().requires_grad_(False)
    forget_what_stayed(half)  # in training
    backbone: Any = half.backbone
    if "backbone" not in float32_parts:
        if hasattr(backbone, "compute_in"):
            backbone.compute_in(dtype)
        else:
            _cast_weights(backbone, dtype)
            backbone.register_forward_pre_hook(lambda _, args: cast(args, dtype))
            backbone.register_forward_hook(lambda _, args, maps: cast(maps, torch.float32))
    in_autocast = "head" not in float32_parts and not isinstance(half.sem_seg_head, SegFormerHead)
    if in_autocast:
        _autocast_head(half, dtype)
    if "temporal" not in float32_parts and half.temporal is not None:
        half.temporal.module.compute_in(dtype)
    _keep_what_is_off(half, model, dtype, in_autocast)
    return half


def _cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """All floating-point weights, but batch norms', whose running variances need the range."""
    for child in module.modules():
        if not is_batch_norm(child):
            child._apply(lambda tensor: cast(tensor, dtype), recurse=False)


def _keep_what_is_off(
    half: ClipSegmentor, model: ClipSegmentor, dtype: torch.dtype, in_autocast: bool
) -> None:
    """What the device computes wrongly in a copy gets the model's own weights back."""
    maps = maps_of(half)
    off = maps_that_are_off(maps, dtype)
    for name in off:
        stay_in_float32(_with_weights_of(half, model, name), dtype)
    if in_autocast:
        head_maps = {n: m for n, m in maps.items() if n.startswith("sem_seg_head.")}
        off_in_head = maps_that_are_off(head_maps, dtype, autocast=True)
        for name in off_in_head:
            stay_in_float32(half.get_submodule(name))
        off = {**off, **off_in_head}
    say_what_is_off(off, dtype)
    if any(name.startswith("backbone.") for name in off) and not _runs(half):
        logger.warning("The backbone does not run with parts of it in float32: all of it is")
        half.backbone = copy.deepcopy(model.backbone).eval().requires_grad_(False)
        forget_what_stayed(half.backbone)


def _with_weights_of(half: nn.Module, model: nn.Module, name: str) -> nn.Module:
    """A submodule of the copy, with the weights of the model."""
    module, source = half.get_submodule(name), model.get_submodule(name)
    module.float()
    with torch.no_grad():
        for ours, theirs in zip(module.parameters(), source.parameters(), strict=True):
            ours.copy_(theirs)
    return module


@torch.no_grad()
def _runs(model: ClipSegmentor) -> bool:
    """Whether the backbone takes an image: it may use weights of a map without calling the map."""
    side = max(64, getattr(model.backbone, "size_divisibility", 0))
    try:
        model.backbone(model.pixel_mean.new_zeros(1, len(model.pixel_mean), side, side))
    except RuntimeError:
        return False
    return True


def _autocast_head(model: ClipSegmentor, dtype: torch.dtype) -> None:
    """The head's two steps run under autocast; what they give is float32."""
    head: Any = model.head
    for name in ("embed", "classify"):
        setattr(head, name, _autocast(getattr(head, name), model.device.type, dtype))


def _autocast(step: Any, device_type: str, dtype: torch.dtype) -> Any:
    def run(*args: Any) -> Any:
        with torch.autocast(device_type, dtype=dtype):
            result = step(*args)
        return cast(result, torch.float32)

    return run
