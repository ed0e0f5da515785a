"""Training and evaluation through detectron2's engine."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .launch import complete_config, main, setup
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
    "launch_job",
    "main",
    "output_folder_of",
    "setup",
]
