"""Metrics of VSPW, the evaluator that feeds them, and scoring predictions saved as PNGs."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .metrics import (
    SegmentationScores,
    VideoConsistency,
    VideoWindows,
    confusion_matrix,
    defined_scores,
    official_window_scores,
    pooled_mean,
    segmentation_scores,
)
from .predictions import score_predictions
from .scoring import DatasetScores
from .vspw_evaluator import VSPWEvaluator

__all__ = [
    "DatasetScores",
    "SegmentationScores",
    "VSPWEvaluator",
    "VideoConsistency",
    "VideoWindows",
    "confusion_matrix",
    "defined_scores",
    "official_window_scores",
    "pooled_mean",
    "score_predictions",
    "segmentation_scores",
]
