"""Arguments of the commands that read saved predictions: `cffm score` and `cffm report`."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..constants import MAX_MEGAPIXELS


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """What the predictions are of; ``check_dataset`` once they are read."""
    dataset = parser.add_mutually_exclusive_group(required=True)
    dataset.add_argument("--dataset", metavar="NAME", help="a registered dataset")
    dataset.add_argument("--dataset-root", type=Path, help="the folder with <split>.txt and data/")
    parser.add_argument("--split", help="name of the list file without .txt, for --dataset-root")
    parser.add_argument("--num-classes", type=int, help="for --dataset-root (124)")
    add_video_folders(parser)


def add_video_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--video-folders",
        nargs="+",
        default=[],
        metavar="YAML",
        help="register the datasets of these files first, see datasets/README.md",
    )


def add_reading(parser: argparse.ArgumentParser, verb: str, result: str) -> None:
    """How they are read.

    Args:
        verb, result: what the command does, and what it makes, for the help.
    """
    parser.add_argument(
        "--one-based", action="store_true", help="PNGs hold k + 1 for class k, as VSPW's masks do"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help=f"{verb} the frames whose predictions are there and fit, and warn of the others",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help="larger images are an error (%(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(os.cpu_count() or 1, 8),
        help=f"processes; the {result} not depend on it (%(default)s)",
    )


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """What ``add_reading`` read and is not of the dataset, as scores and reports take it."""
    names = ("one_based", "partial", "jobs")
    return {name: getattr(args, name) for name in names} | {"progress": True}


def check_dataset(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with the parser's error where the arguments of ``add_dataset`` don't go together."""
    if args.dataset is not None and (args.split or args.num_classes):
        parser.error("--dataset takes no --split or --num-classes: its registration says them.")
    if args.dataset_root is not None and (args.split is None or args.video_folders):
        parser.error("--dataset-root needs --split, and takes no --video-folders.")
