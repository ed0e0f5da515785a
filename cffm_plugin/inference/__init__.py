"""Segmenting video as it comes: one new frame, one pass through the backbone."""

from .evaluation import LabelMapPredictor, gives_label_maps
from .streaming import StreamingSegmenter, compile_segmentor

__all__ = ["LabelMapPredictor", "StreamingSegmenter", "compile_segmentor", "gives_label_maps"]
