"""Training and evaluation through detectron2's engine."""

from .launch import launch_job, main, setup
from .trainer import CFFMTrainer, build_optimizer

__all__ = ["CFFMTrainer", "build_optimizer", "launch_job", "main", "setup"]
