"""From command-line arguments to a trained or evaluated model."""

import argparse
import logging
import os
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..checkpoint import ModelInfo, SegmentorCheckpointer
from ..config import absolute_path, add_cffm_config, load_config, make_paths_absolute
from ..data import check_registered, names_and_colors, register_video_folder_from_yaml
from ..foreign_parts import log_foreign_parts
from ..modeling import how_to_wrap, resolve_normalization
from ..shipped_configs import find_config_file
from .output_folder import claimed_for_training
from .preemption import StopSignals
from .trainer import CFFMTrainer

# Builders of image segmentors alone, which are no classes.
_IMAGE_BUILDERS = ("build_hf_segmenter",)

logger = logging.getLogger(__name__)


def setup(args: argparse.Namespace) -> CfgNode:
    """The frozen config of detectron2's standard arguments, with logging and seeds set up."""
    return _set_up(load_config(args.config_file, args.opts), args)


def _set_up(cfg: CfgNode, args: argparse.Namespace) -> CfgNode:
    if args.config_file:  # detectron2 logs the file, which may be given by its name
        args = argparse.Namespace(
            **vars(args) | {"config_file": find_config_file(args.config_file)}
        )
    output_dir = absolute_path(cfg.OUTPUT_DIR)  # as it will be: one file has one handler
    setup_logger(output_dir, distributed_rank=comm.get_rank(), name="cffm_plugin")
    complete_config(cfg)
    cfg.freeze()
    default_setup(cfg, args)
    # The number of threads decides the order of sums. Evaluation keeps it, so that its numbers do
    # not depend on the number of processes; training is faster when processes share the cores.
    if cfg.MODEL.DEVICE == "cpu" and comm.get_world_size() > 1 and not args.eval_only:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // comm.get_local_size()))
    return cfg


def complete_config(cfg: CfgNode) -> None:
    """See to what a config leaves to the machine and to other files.

    In place: paths become absolute, so that a saved config works from every folder; the device is
    the CPU where there is no other, images are normalised as ``resolve_normalization`` says, and
    the datasets of DATASETS.VIDEO_FOLDERS are registered.

    Raises:
        ValueError: the model is one for images alone, or there is no such kind of device.
    """
    add_cffm_config(cfg)  # what other projects' functions, called by hand, have taken away
    log_foreign_parts(cfg)
    check_meta_architecture(cfg.MODEL.META_ARCHITECTURE)
    make_paths_absolute(cfg)
    try:
        torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise ValueError(
            f'MODEL.DEVICE is "{cfg.MODEL.DEVICE}": expected "cpu", "cuda" or "cuda:NUMBER"'
        ) from error
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
        logger.warning("There is no CUDA device; MODEL.DEVICE is cpu")
    resolve_normalization(cfg)
    for file in cfg.DATASETS.VIDEO_FOLDERS:
        register_video_folder_from_yaml(file)


def check_meta_architecture(name: str) -> None:
    """
    Raises:
        ValueError: it is one of images alone: detectron2's, or a subclass of these that leaves
            their ``forward`` as it is. GeneralizedRCNN is one where a config says nothing.
    """
    known = META_ARCH_REGISTRY.get(name) if name in META_ARCH_REGISTRY else None
    forward = getattr(known, "forward", None)
    is_detectron2s = getattr(forward, "__module__", "").startswith("detectron2.")
    if is_detectron2s or name in _IMAGE_BUILDERS:
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {name}, which takes images and no clips of video. "
            f"{how_to_wrap(name)}"
        )


def main(args: argparse.Namespace, trainer: type[CFFMTrainer] = CFFMTrainer) -> Any:
    """Train, or evaluate with ``--eval-only``; a job for ``launch_job``.

    Args:
        args: of detectron2's ``default_argument_parser``.
        trainer: the class that builds the model and its data.

    Returns:
        the evaluation's results on the main process.

    Raises:
        FileExistsError: another training runs in OUTPUT_DIR; or it holds checkpoints, and there is
            no ``--resume``.
        SystemExit: with STOPPED, when training was asked to stop.
    """
    cfg = load_config(args.config_file, args.opts)
    if args.eval_only:
        return _evaluate(_set_up(cfg, args), args, trainer)
    claimed: AbstractContextManager[None] = nullcontext()
    if comm.is_main_process():
        claimed = claimed_for_training(absolute_path(cfg.OUTPUT_DIR), resume=args.resume)
    # While all is set up, nothing is lost by leaving at once; ``train`` has signals of its own.
    with claimed, StopSignals(at_once=True):
        cfg = _set_up(cfg, args)
        check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
        check_registered(cfg.DATASETS.TEST, "DATASETS.TEST")
        training = trainer(cfg)
        training.resume_or_load(resume=args.resume)
        training.train()
        return getattr(training, "_last_eval_results", OrderedDict())


def _evaluate(cfg: CfgNode, args: argparse.Namespace, trainer: type[CFFMTrainer]) -> Any:
    check_registered(cfg.DATASETS.TEST, "DATASETS.TEST")
    model = trainer.build_model(cfg)
    classes = names_and_colors(cfg.DATASETS.TEST, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    info = ModelInfo.from_config(cfg, *classes)
    checkpointer = SegmentorCheckpointer(model, cfg.OUTPUT_DIR, require_all=True, info=info)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
    return trainer.test(cfg, model)
