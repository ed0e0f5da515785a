"""A segmentor through ``torch.compile``."""

import logging
from typing import Any

import torch

from .clip_segmentor import ClipSegmentor

logger = logging.getLogger(__name__)


def compile_segmentor(
    model: ClipSegmentor, *, backend: Any = "inductor", mode: str | None = None
) -> None:
    """Put the backbone and the temporal module through ``torch.compile``, in place.

    Each size of frames is compiled by itself, which is faster than one program for all and which
    all versions of torch can do; after eight sizes (``torch._dynamo.config.recompile_limit``)
    further ones run uncompiled.

    Args:
        model: the segmentor.
        backend: of ``torch.compile``: a name or a callable.
        mode: of the backend inductor: None, "reduce-overhead" (CUDA graphs) or "max-autotune".

    Raises:
        ValueError: there is no such backend.
    """
    if isinstance(backend, str) and backend not in torch.compiler.list_backends(exclude_tags=()):
        raise ValueError(
            f"COMPILE.BACKEND (backend) is one of {', '.join(torch.compiler.list_backends())}; got "
            f"{backend!r}"
        )
    logger.info("Backbone and temporal module go through torch.compile (%s)", backend)
    options: dict[str, Any] = {"backend": backend, "mode": mode, "dynamic": False}
    model.backbone.compile(**options)
    if model.temporal is not None:
        model.temporal.module.compile_parts(**options)
