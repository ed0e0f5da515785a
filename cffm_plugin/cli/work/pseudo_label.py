"""What `cffm pseudo-label` does, with the arguments of ``cffm_plugin.cli.pseudo_label``."""

import argparse
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm

from ...engine import launch_job
from ...engine.pseudo_label_folder import PseudoLabelFolder
from ...engine.pseudo_labels import (
    describe,
    make_pseudo_labels,
    prepare_pseudo_labels,
    training_command,
)
from ...stopping import stops_raised
from .configs import log_to_terminal, read_config


def config_of(args: argparse.Namespace) -> CfgNode:
    cfg = read_config(args.config_file, args.opts)
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = tuple(args.scales), args.flip
    return cfg


def label(args: argparse.Namespace, folder: PseudoLabelFolder) -> None:
    """What every process does."""
    log_to_terminal()
    cfg = config_of(args)
    with stops_raised():  # a process of its own, where there are several
        counts = make_pseudo_labels(cfg, folder, args.min_confidence)
    if comm.is_main_process():
        print(f"\n{describe(folder, counts)}\n\nTo train a video segmentor on them:\n")
        print(f"{training_command(cfg, folder, args.config_file)}\n")


def run(args: argparse.Namespace) -> None:
    cfg = config_of(args)
    videos = args.videos
    if videos and len(videos) == 1 and Path(videos[0]).is_file():
        videos = Path(videos[0]).resolve()
    options = {"name": args.name, "frames": args.frames, "videos": videos}
    folder = PseudoLabelFolder.from_config(cfg, args.output, args.input, **options)
    prepare_pseudo_labels(cfg, folder, args.min_confidence)
    launch_job(label, args, folder)
