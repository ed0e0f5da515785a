"""Metrics of VSPW and the evaluator that feeds them."""

from .metrics import (
    SegmentationScores,
    VideoConsistency,
    VideoWindows,
    confusion_matrix,
    official_window_scores,
    pooled_mean,
    segmentation_scores,
)
from .vspw_evaluator import VSPWEvaluator

__all__ = [
    "SegmentationScores",
    "VSPWEvaluator",
    "VideoConsistency",
    "VideoWindows",
    "confusion_matrix",
    "official_window_scores",
    "pooled_mean",
    "segmentation_scores",
]
