"""From nothing to a trained and evaluated CFFM in minutes, on a CPU.

Writes a small synthetic dataset in VSPW's format, trains an image segmentor on it, and from that
one checkpoint goes on in two ways for about the same time: as the image segmentor that it is, and
with CFFM on top. Evaluates both, as they are and with their probabilities averaged over frames
(TEST.SMOOTHING), and writes metrics.json, preview.png and a report, a page to look at. Every step
is a command that you could type; what it prints goes to a log file in the step's folder.

    cffm quickstart --output output/quickstart
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/quickstart"))
    parser.add_argument(
        "--videos",
        type=int,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=(40, 10, 0),
        help="videos of the dataset (%(default)s)",
    )
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "quickstart")
