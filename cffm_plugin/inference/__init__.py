"""Segmenting video as it comes: one new frame, one pass through the backbone."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from ..core.compiling import compile_segmentor
from ..core.finite import name_of_frame, not_finite
from ..core.half_precision import half_precision_copy
from ..core.smoothing import check_smoothing
from .classes import dataset_classes, known_classes
from .evaluating import ClipsOfFrames, LabelMapPredictor
from .streaming import StreamingSegmentor, build_compile_options

__all__ = [
    "ClipsOfFrames",
    "LabelMapPredictor",
    "StreamingSegmentor",
    "build_compile_options",
    "check_smoothing",
    "compile_segmentor",
    "dataset_classes",
    "half_precision_copy",
    "known_classes",
    "name_of_frame",
    "not_finite",
]
