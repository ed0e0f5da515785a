"""Training and evaluation through detectron2's engine."""

from .launch import complete_config, launch_job, main, setup
from .trainer import CFFMTrainer, build_optimizer

__all__ = [
    "CFFMTrainer",
    "build_optimizer",
    "complete_config",
    "launch_job",
    "main",
    "setup",
]
