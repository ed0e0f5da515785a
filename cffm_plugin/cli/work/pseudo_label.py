"""What `cffm pseudo-label` does, with the arguments of ``cffm_plugin.cli.pseudo_label``."""

import argparse
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ...checkpoint import load_stored_config
from ...config import load_config
from ...engine import complete_config, launch_job
from ...engine.pseudo_label_folder import PseudoLabelFolder
from ...engine.pseudo_labels import (
    describe,
    make_pseudo_labels,
    prepare_pseudo_labels,
    training_command,
)
from ...stopping import stops_raised


def read_config(args: argparse.Namespace) -> CfgNode:
    """The config of the file, or else of the checkpoint."""
    if args.config_file:
        cfg = load_config(args.config_file, args.opts)
    else:
        cfg = load_stored_config(args.opts)
    complete_config(cfg)
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = tuple(args.scales), args.flip
    return cfg


def label(args: argparse.Namespace, folder: PseudoLabelFolder) -> None:
    """What every process does."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name, distributed_rank=comm.get_rank())
    cfg = read_config(args)
    with stops_raised():  # a process of its own, where there are several
        counts = make_pseudo_labels(cfg, folder, args.min_confidence)
    if comm.is_main_process():
        print(f"\n{describe(folder, counts)}\n\nTo train a video segmentor on them:\n")
        print(f"{training_command(cfg, folder, args.config_file)}\n")


def run(args: argparse.Namespace) -> None:
    cfg = read_config(args)
    videos = args.videos
    if videos and len(videos) == 1 and Path(videos[0]).is_file():
        videos = Path(videos[0]).resolve()
    options = {"name": args.name, "frames": args.frames, "videos": videos}
    folder = PseudoLabelFolder.of_config(cfg, args.output, args.input, **options)
    prepare_pseudo_labels(cfg, folder, args.min_confidence)
    launch_job(label, args, folder)
