"""From command-line arguments to a trained or evaluated model."""

import argparse
import os
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..checkpoint import build_and_load, check_checkpoint
from ..config import absolute_path
from ..data import check_registered, names_and_colors
from ..job_spec import JobSpec
from ..shipped_configs import find_config_file
from .configs import completed, config_of_arguments, with_config
from .output_folder import claimed_for_training
from .preemption import StopSignals
from .trainer import CFFMTrainer


def setup(args: argparse.Namespace) -> CfgNode:
    """The frozen config of detectron2's standard arguments, with logging and seeds set up."""
    cfg = config_of_arguments(args)
    _check_weights(cfg, args)
    return _set_up(cfg, args)


def _check_weights(cfg: CfgNode, args: argparse.Namespace, *, can_be_empty: bool = False) -> None:
    """Before all of the config is logged, after which nobody would see what is wrong.

    Raises:
        FileNotFoundError: MODEL.WEIGHTS names no file, and nothing is resumed.
    """
    if not getattr(args, "resume", False):
        check_checkpoint(JobSpec.from_config(cfg).weights, can_be_empty=can_be_empty)


def _set_up(cfg: CfgNode, args: argparse.Namespace) -> CfgNode:
    args = with_config(args, None)  # detectron2 logs them
    if args.config_file:  # and the file, which may be given by its name
        args.config_file = find_config_file(args.config_file)
    output_dir = absolute_path(JobSpec.from_config(cfg).output_dir)  # one file has one handler
    setup_logger(output_dir, distributed_rank=comm.get_rank(), name="cffm_plugin")
    cfg = completed(cfg)
    default_setup(cfg, args)
    # The number of threads decides the order of sums. Evaluation keeps it, so that its numbers do
    # not depend on the number of processes; training is faster when processes share the cores.
    on_cpu = JobSpec.from_config(cfg).device == "cpu"
    if on_cpu and comm.get_world_size() > 1 and not args.eval_only:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // comm.get_local_size()))
    return cfg


def main(args: argparse.Namespace, trainer: type[CFFMTrainer] = CFFMTrainer) -> Any:
    """Train, or evaluate with ``--eval-only``; a job for ``launch_job``.

    Args:
        args: of detectron2's ``default_argument_parser``.
        trainer: the class that builds the model and its data.

    Returns:
        the evaluation's results on the main process.

    Raises:
        FileNotFoundError: there is no file that MODEL.WEIGHTS names.
        FileExistsError: another training runs in OUTPUT_DIR; or it holds checkpoints, and there is
            no ``--resume``.
        SystemExit: with STOPPED, when training was asked to stop.
    """
    cfg = config_of_arguments(args)
    _check_weights(cfg, args, can_be_empty=not args.eval_only)
    if args.eval_only:
        return _evaluate(_set_up(cfg, args), args, trainer)
    claimed: AbstractContextManager[None] = nullcontext()
    spec = JobSpec.from_config(cfg)
    if comm.is_main_process():
        claimed = claimed_for_training(absolute_path(spec.output_dir), resume=args.resume)
    # While all is set up, nothing is lost by leaving at once; ``train`` has signals of its own.
    with claimed, StopSignals(at_once=True):
        cfg = _set_up(cfg, args)
        check_registered(spec.train, "DATASETS.TRAIN")
        check_registered(spec.test, "DATASETS.TEST")
        training = trainer(cfg)
        training.resume_or_load(resume=args.resume)
        training.train()
        return getattr(training, "_last_eval_results", OrderedDict())


def _evaluate(cfg: CfgNode, args: argparse.Namespace, trainer: type[CFFMTrainer]) -> Any:
    spec = JobSpec.from_config(cfg)
    check_registered(spec.test, "DATASETS.TEST")
    classes = names_and_colors(spec.test, spec.num_classes)
    model = build_and_load(cfg, trainer.build_model, classes=classes, resume=args.resume)
    return trainer.test(cfg, model)
