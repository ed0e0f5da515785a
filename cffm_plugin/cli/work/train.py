"""What `cffm train` does."""

import argparse

from ...engine import CFFMTrainer, launch_job
from ...engine import main as train
from ...report import report_of_config


def run(args: argparse.Namespace) -> None:
    launch_job(train, args, CFFMTrainer, report_of_config)
