"""Training and evaluation through detectron2's engine."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .configs import (
    complete_config,
    completed,
    config_of_arguments,
    read_config,
    with_config,
)
from .launch import main, setup
from .lost_processes import LostProcessError
from .optimizer import build_optimizer
from .output_folder import output_folder_of
from .preemption import STOPPED, StopSignals
from .processes import launch_job
from .trainer import CFFMTrainer

__all__ = [
    "STOPPED",
    "CFFMTrainer",
    "LostProcessError",
    "StopSignals",
    "build_optimizer",
    "complete_config",
    "completed",
    "config_of_arguments",
    "launch_job",
    "main",
    "read_config",
    "output_folder_of",
    "setup",
    "with_config",
]
