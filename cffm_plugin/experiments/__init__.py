"""Several trainings and evaluations as one experiment: run, resumed, and told as a table."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .results import METRICS, RunResult, read_results
from .runs import SYNTHETIC, TRAIN, Run, run_all
from .tables import Comparison

__all__ = [
    "SYNTHETIC",
    "TRAIN",
    "METRICS",
    "Comparison",
    "Run",
    "RunResult",
    "read_results",
    "run_all",
]
