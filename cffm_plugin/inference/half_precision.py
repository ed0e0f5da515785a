"""A copy of a segmentor that computes in half precision, its weights cast once."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..modeling import CFFMSegmentor, SegFormerHead
from ..modeling.heads.segformer import BATCH_NORMS
from ..modeling.nested import map_tensors

PARTS = ("backbone", "head", "temporal")


def half_precision_copy(
    model: CFFMSegmentor, dtype: torch.dtype, float32_parts: Sequence[str] = ()
) -> CFFMSegmentor:
    """A copy for inference, whose large products are in ``dtype``.

    What is added up or compared stays in float32: norms, residuals and patch embeddings of MiT;
    SegFormerHead, which has little arithmetic; the temporal module's norms, recall and residuals;
    logits and all that is made of them. Backbones and temporal modules say by a method
    ``compute_in(dtype)`` what of them may be cast. A backbone without it computes in ``dtype``
    altogether, but for batch norms; a temporal module without it stays as it is, and so does
    CFFM++'s branch. Other heads than SegFormerHead run under ``torch.autocast``.

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
    backbone: Any = half.backbone
    if "backbone" not in float32_parts:
        if hasattr(backbone, "compute_in"):
            backbone.compute_in(dtype)
        else:
            _cast(backbone, dtype)
            backbone.register_forward_pre_hook(lambda _, args: _to(args, dtype))
            backbone.register_forward_hook(lambda _, args, maps: _to(maps, torch.float32))
    if "head" not in float32_parts and not isinstance(half.sem_seg_head, SegFormerHead):
        _autocast_head(half, dtype)
    module: Any = None if half.temporal is None else half.temporal.module
    if "temporal" not in float32_parts and hasattr(module, "compute_in"):
        module.compute_in(dtype)
    return half


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """All floating-point weights, but batch norms', whose running variances need the range."""
    for child in module.modules():
        if not isinstance(child, BATCH_NORMS):
            child._apply(lambda tensor: _to(tensor, dtype), recurse=False)


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
