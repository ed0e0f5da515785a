"""Training and evaluation through detectron2's engine."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .launch import complete_config, launch_job, main, setup
from .optimizer import build_optimizer
from .trainer import CFFMTrainer

__all__ = [
    "CFFMTrainer",
    "build_optimizer",
    "complete_config",
    "launch_job",
    "main",
    "setup",
]
