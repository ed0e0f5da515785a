"""Makes a folder of HTML of one evaluation or several, which opens from the disk.

    cffm report --dataset camvid_val \
        --predictions image=output/image cffm=output/cffm --output report
    cffm report --dataset-root datasets/vspw/VSPW_480p --split val \
        --predictions mine=PNGS --output report

A folder of predictions is <predictions>/<video>/<frame>.png with class indices from 0, or the
output folder of a training or an evaluation with TEST.SAVE_PREDICTIONS True: then the report has
its training curves and its config too. The first is the baseline that the others are compared with.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..constants import (
    MAX_MEGABYTES,
    MAX_MEGAPIXELS,
    PLAYER_WIDTH,
    PLAYERS,
    REPORT_ORDERS,
)
from . import frame


def make_parser() -> argparse.ArgumentParser:
    parser = frame.make_parser(__doc__)
    dataset = parser.add_mutually_exclusive_group(required=True)
    dataset.add_argument("--dataset", metavar="NAME", help="a registered dataset")
    dataset.add_argument("--dataset-root", type=Path, help="the folder with <split>.txt and data/")
    parser.add_argument("--split", help="name of the list file without .txt, for --dataset-root")
    parser.add_argument("--num-classes", type=int, help="for --dataset-root (124)")
    parser.add_argument(
        "--video-folders",
        nargs="+",
        default=[],
        metavar="YAML",
        help="register the datasets of these files first, see datasets/README.md",
    )
    parser.add_argument(
        "--predictions",
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="of each model; the first one is the baseline",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    _add_pictures(parser)
    _add_reading(parser)
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--players",
        type=int,
        default=PLAYERS,
        metavar="N",
        help="players of the N worst and the N best videos; numbers are of all (%(default)s)",
    )
    parser.add_argument(
        "--order",
        choices=REPORT_ORDERS,
        default=REPORT_ORDERS[0],
        help="what says which videos are worst and best: of several models the difference to the "
        "baseline in it (%(default)s)",
    )
    parser.add_argument(
        "--max-megabytes",
        type=float,
        default=MAX_MEGABYTES,
        help="players that would make the folder larger are left out (%(default)g)",
    )
    parser.add_argument(
        "--player-width",
        type=int,
        default=PLAYER_WIDTH,
        help="largest width of frames in players, in pixels (%(default)s)",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--one-based", action="store_true", help="PNGs hold k + 1 for class k, as VSPW's masks do"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="report the frames whose predictions are there and fit, and warn of the others",
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
        help="processes; the report does not depend on it (%(default)s)",
    )


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    words = sys.argv[1:] if argv is None else argv
    args = frame.parse(parser, words)
    if args.dataset is not None and (args.split or args.num_classes):
        parser.error("--dataset takes no --split or --num-classes: its registration says them.")
    if args.dataset_root is not None and (args.split is None or args.video_folders):
        parser.error("--dataset-root needs --split, and takes no --video-folders.")
    args.words = list(words)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    return frame.main(parse_args, "report", argv)


if __name__ == "__main__":
    sys.exit(main())
