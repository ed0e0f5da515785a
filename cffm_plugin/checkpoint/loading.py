"""The one way from a config to a model with its weights."""

from detectron2.config import CfgNode

from ..modeling import CFFMSegmentor, build_segmentor
from .checkpointer import SegmentorCheckpointer
from .model_info import ModelInfo


def build_and_load(cfg: CfgNode) -> CFFMSegmentor:
    """The model of a config, with all the weights of MODEL.WEIGHTS.

    Args:
        cfg: complete.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: it is of another meta-architecture; or the weights don't fit, or lack a part.
    """
    model = build_segmentor(cfg)
    info = ModelInfo.from_config(cfg)
    SegmentorCheckpointer(model, require_all=True, info=info).load(cfg.MODEL.WEIGHTS)
    return model
