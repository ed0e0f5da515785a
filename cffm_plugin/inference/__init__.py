"""Segmenting video as it comes: one new frame, one pass through the backbone."""

from .label_map_predictor import LabelMapPredictor, gives_label_maps
from .streaming import StreamingSegmentor, compile_segmentor

__all__ = ["LabelMapPredictor", "StreamingSegmentor", "compile_segmentor", "gives_label_maps"]
