"""Shows the clips that a config trains on: frames in order, with their labels painted
over them, void striped, the names of video and frames, and how far each frame is from the target.

    cffm visualize --source dataloader --config-file configs/camvid/demo.yaml \\
        --output output/clips

--source dataloader: clips as training gets them, drawn and augmented. --source annotation: clips of
the dataset as it is, at its own size, evenly spaced over all of DATASETS.TRAIN.
"""

import argparse
from collections.abc import Sequence

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--source", choices=("dataloader", "annotation"), required=True)
    frame.add_config_file(parser)
    parser.add_argument("--output", default="./", metavar="DIR", help="where PNGs go (%(default)s)")
    parser.add_argument(
        "--show", action="store_true", help="a window instead; any key: on, Escape: the end"
    )
    count = frame.number(int, lambda value: value >= 1, "is not 1 or more")
    parser.add_argument("--num-clips", type=count, default=16, metavar="N", help="(%(default)s)")
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "visualize")
