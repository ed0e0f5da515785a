"""Segmenting video as it comes: one new frame, one pass through the backbone."""

from .label_map_predictor import LabelMapPredictor
from .streaming import StreamingSegmentor, compile_segmentor

__all__ = ["LabelMapPredictor", "StreamingSegmentor", "compile_segmentor"]
