"""The one way from a config to a model with its weights."""

from collections.abc import Callable, Sequence
from typing import Any

from detectron2.config import CfgNode

from ..modeling import build_segmentor
from .checkpointer import SegmentorCheckpointer
from .model_info import ModelInfo


def build_and_load(
    cfg: CfgNode,
    build: Callable[[CfgNode], Any] = build_segmentor,
    *,
    classes: Sequence[Sequence[Any]] = (),
    resume: bool = False,
) -> Any:
    """The model of a config, with all the weights of MODEL.WEIGHTS.

    Args:
        cfg: complete.
        build: what builds the model; by default a ``CFFMSegmentor``.
        classes: names and colours that the model should have; where those of the weights are
            others, a warning says so.
        resume: the weights are those of the last checkpoint in OUTPUT_DIR, where there is one.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: it is of another meta-architecture; or the weights don't fit, or lack a part.
    """
    model = build(cfg)
    info = ModelInfo.from_config(cfg, *classes)
    checkpointer = SegmentorCheckpointer(model, cfg.OUTPUT_DIR, require_all=True, info=info)
    if resume:
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=True)
    else:
        checkpointer.load(cfg.MODEL.WEIGHTS)
    return model
