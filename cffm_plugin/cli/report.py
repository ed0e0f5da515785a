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
from collections.abc import Sequence
from pathlib import Path

from ..constants import MAX_MEGABYTES, PLAYER_WIDTH, PLAYERS
from ..results import PER_VIDEO
from . import frame, prediction_arguments


def make_parser() -> argparse.ArgumentParser:
    parser = frame.make_parser(__doc__)
    prediction_arguments.add_dataset(parser)
    parser.add_argument(
        "--predictions",
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="of each model; the first one is the baseline",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    _add_pictures(parser)
    prediction_arguments.add_reading(parser, "report", "report does")
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
        choices=[metric.name for metric in PER_VIDEO],
        default=PER_VIDEO[0].name,
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


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    args = frame.parse(parser, argv)
    prediction_arguments.check_dataset(parser, args)
    args.words = list(argv)
    return args


main = frame.command(parse_args, "report")
