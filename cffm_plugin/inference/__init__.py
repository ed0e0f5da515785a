"""Segmenting video as it comes: one new frame, one pass through the backbone."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .evaluating import ClipsOfFrames, LabelMapPredictor
from .streaming import StreamingSegmentor, compile_segmentor

__all__ = ["ClipsOfFrames", "LabelMapPredictor", "StreamingSegmentor", "compile_segmentor"]
