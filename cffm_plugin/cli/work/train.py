"""What `cffm train` does."""

import argparse
from contextlib import nullcontext
from typing import Any

from detectron2.utils import comm

from ...config import load_config, make_paths_absolute
from ...engine import CFFMTrainer, StopSignals, launch_job, main
from .evaluation_report import check_report, report_evaluation


def run(args: argparse.Namespace) -> None:
    launch_job(train, args)


def train(args: argparse.Namespace, trainer: type[CFFMTrainer] = CFFMTrainer) -> Any:
    """``engine.main``, and then the reports of TEST.REPORT; a job for ``launch_job``.

    Returns:
        what ``main`` returns.

    Raises:
        ValueError: TEST.REPORT asks for what can't be done, see ``check_report``; nothing was done.
        SystemExit: with STOPPED, when training, or a report after it, was asked to stop.
    """
    cfg = load_config(args.config_file, args.opts)
    check_report(cfg)
    results = main(args, trainer)
    make_paths_absolute(cfg)
    with nullcontext() if args.eval_only else StopSignals(at_once=True):
        if comm.is_main_process():
            report_evaluation(cfg)
        comm.synchronize()  # the others wait, so that it does not miss them
    return results
