"""What `cffm train` does."""

import argparse
from contextlib import nullcontext
from typing import Any

from detectron2.utils import comm

from ...engine import (
    CFFMTrainer,
    StopSignals,
    config_of_arguments,
    launch_job,
    main,
    with_config,
)
from .evaluation_report import EvaluationReports


def run(args: argparse.Namespace) -> None:
    launch_job(train, args)


def train(args: argparse.Namespace, trainer: type[CFFMTrainer] = CFFMTrainer) -> Any:
    """``engine.main``, and then the reports of TEST.REPORT; a job for ``launch_job``.

    Returns:
        what ``main`` returns.

    Raises:
        ValueError: TEST.REPORT asks for what can't be done; nothing was done.
        SystemExit: with STOPPED, when training, or a report after it, was asked to stop.
    """
    cfg = config_of_arguments(args)
    reports = EvaluationReports.from_config(cfg)
    reports.check()
    results = main(with_config(args, cfg), trainer)
    with nullcontext() if args.eval_only else StopSignals(at_once=True):
        if comm.is_main_process():
            reports.make()
        comm.synchronize()  # the others wait, so that it does not miss them
    return results
