"""Streams of a config's model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from .. import core
from ..checkpoint import build_and_load
from ..core.clip_segmentor import ClipSegmentor
from ..core.frames import Resize
from ..data import build_test_augmentations
from ..modeling import CFFMSegmentor


class StreamingSegmentor(core.StreamingSegmentor):
    """``cffm_plugin.core.StreamingSegmentor``, of a config.

    segmentor = StreamingSegmentor(cfg)  # model and weights of the config, as DefaultPredictor
    for frame in video:
        labels = segmentor.step(frame)
    """

    @configurable
    def __init__(self, model: ClipSegmentor, **arguments: Any):
        super().__init__(model, **arguments)

    @classmethod
    def from_config(cls, cfg: CfgNode, model: CFFMSegmentor | None = None) -> dict[str, Any]:
        """``model``: by default that of the config, with the weights of MODEL.WEIGHTS.

        Raises:
            ValueError: it is of another meta-architecture.
        """
        if model is None:
            model = build_and_load(cfg)
        return {
            "model": model,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "resize": resize_of(build_test_augmentations(cfg)),
            "max_streams": cfg.TEST.MAX_STREAMS,
            **build_stream_options(cfg),
        }


def resize_of(augmentations: Sequence[T.Augmentation]) -> Resize:
    """Detectron2's augmentations as a function of arrays (H, W, 3)."""
    chain = T.AugmentationList(augmentations)

    def resize(image: np.ndarray) -> np.ndarray:
        given = T.AugInput(image)
        chain(given)
        return given.image

    return resize


def build_stream_options(cfg: CfgNode) -> dict[str, Any]:
    """``autocast``, ``compiled``, ``smoothing`` and what goes with them, of ``TEST``.

    Raises:
        ValueError: TEST.AUTOCAST is no kind of mixed precision.
    """
    name = cfg.TEST.AUTOCAST
    if name not in ("", "bfloat16", "float16"):
        raise ValueError(f'TEST.AUTOCAST is "bfloat16", "float16" or "" for none, got {name!r}')
    return {
        "autocast": getattr(torch, name) if name else None,
        "float32_parts": cfg.TEST.FLOAT32_PARTS,
        "least_agreement": cfg.TEST.AUTOCAST_AGREEMENT,
        "fall_back": cfg.TEST.AUTOCAST_FALLBACK,
        "compiled": cfg.TEST.COMPILE,
        "compile_options": build_compile_options(cfg),
        "smoothing": cfg.TEST.SMOOTHING,
    }


def build_compile_options(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of ``compile_segmentor`` that a config says."""
    return {"backend": cfg.COMPILE.BACKEND, "mode": cfg.COMPILE.MODE or None}
