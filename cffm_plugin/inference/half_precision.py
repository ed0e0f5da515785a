"""A copy of a segmentor that computes in half precision, its weights cast once."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..modeling import CFFMSegmentor, SegFormerHead
from ..modeling.nested import map_tensors

PARTS = ("backbone", "head", "temporal")
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def half_precision_copy(
    model: CFFMSegmentor, dtype: torch.dtype, float32_parts: Sequence[str] = ()
) -> CFFMSegmentor:
    """A copy for inference, whose large products are in ``dtype``.

    The backbone computes in ``dtype`` altogether, but for statistics of batch norms. What the other
    parts add up stays in float32: the embedding of SegFormerHead and its classifier, the temporal
    module's norms, recall and residuals, logits and all that is made of them. Heads of others run
    under ``torch.autocast``. A temporal module without ``compute_in(dtype)`` stays as it is, and so
    does CFFM++'s branch.

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
    own_head = isinstance(half.sem_seg_head, SegFormerHead)
    if "backbone" not in float32_parts:
        _cast(half.backbone, dtype)
        half.backbone.register_forward_pre_hook(lambda _, args: _to(args, dtype))
    if "head" in float32_parts or not own_head:  # the latter autocasts them again
        half.backbone.register_forward_hook(lambda _, args, features: _to(features, torch.float32))
    elif "backbone" in float32_parts:
        half.backbone.register_forward_hook(lambda _, args, features: _to(features, dtype))
    if "head" not in float32_parts and not own_head:
        _autocast_head(half, dtype)
    module: Any = None if half.temporal is None else half.temporal.module
    if "temporal" not in float32_parts and hasattr(module, "compute_in"):
        module.compute_in(dtype)
    return half


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """All floating-point weights, but batch norms', whose running variances need the range."""
    for child in module.modules():
        if isinstance(child, _BATCH_NORMS):
            continue
        for name, value in [*child._parameters.items(), *child._buffers.items()]:
            if value is not None and value.is_floating_point():
                if isinstance(value, nn.Parameter):
                    child._parameters[name] = nn.Parameter(value.to(dtype), requires_grad=False)
                else:
                    child._buffers[name] = value.to(dtype)


def _autocast_head(model: CFFMSegmentor, dtype: torch.dtype) -> None:
    """The head's two steps run under autocast; what they give is float32."""
    head: Any = model.head
    for name in ("embed", "classify"):
        setattr(head, name, _autocast(getattr(head, name), model.device.type, dtype))


def _autocast(step: Any, device_type: str, dtype: torch.dtype) -> Any:
    def run(*args: Any) -> Any:
        with torch.autocast(device_type, dtype=dtype):
            result = step(*args)
        return _to(result, torch.float32)

    return run


def _to(value: Any, dtype: torch.dtype) -> Any:
    """The floating-point tensors of a container, cast."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return map_tensors(value, cast)
