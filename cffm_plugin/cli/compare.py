"""Trains and evaluates several configs with several seeds, and writes one table of all.

    cffm compare --start camvid/segformer_efficientnet_lite0_half \
        --configs camvid/segformer_efficientnet_lite0_half_continued \
                  camvid/cffm_efficientnet_lite0_half_continued \
        --seeds 1 2 3 --smoothing 0.3 0.5 --jobs 2 --output output/compare/camvid

The first config is the one that the others are compared with, seed by seed. With --start, the runs
of a seed start from that config's model of that seed. Writes comparison.md and comparison.json.
Stopped, and called again in the same way, it goes on where it was: what is finished is not done
again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--configs", nargs="+", required=True, metavar="YAML", help="the models")
    parser.add_argument("--start", metavar="YAML", help="a model to train first, of every seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="%(default)s")
    parser.add_argument(
        "--smoothing",
        type=float,
        nargs="+",
        default=[],
        metavar="A",
        help="evaluate every model with TEST.SMOOTHING A too",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (%(default)s)")
    parser.add_argument("--num-gpus", type=int, default=1, help="of each run (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    frame.add_overrides(parser)
    args = frame.parse(parser, argv)
    args.output = args.output.resolve()
    return args


main = frame.command(parse_args, "compare", frame.GOES_ON)
