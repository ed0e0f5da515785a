"""Writes the frames of videos as pictures: upright, in the colours that are shown.

    cffm frames walk.mp4 --output mine/walk/frames
    cffm frames videos/ --output mine --format png

Every frame is written once, in the order in which it is shown, under its index, which counts from
0: the name that cffm demo, predict and segment-videos give to its label map. times.csv beside them
holds each frame's time in seconds. Several videos, or a folder of them, become a folder each. A
folder of frames is there whole or not at all; of a damaged video it has what came.

Exit codes: 0 done; 1 an error, or of several videos one failed; 2 a video was incomplete, or the
arguments are wrong; 130 Ctrl-C; 143 SIGTERM; 138 SIGUSR1.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from . import frame
from .demo import add_raw_colors

# Colours at full resolution: segmentation is about edges.
PICTURE_OPTIONS: dict[str, dict[str, Any]] = {
    "jpg": {"subsampling": 0},
    "png": {"compress_level": 3},
}


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="files, addresses, and folders of videos"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--format",
        choices=tuple(PICTURE_OPTIONS),
        default="jpg",
        help="of the pictures (%(default)s)",
    )
    quality = frame.number(int, lambda value: 1 <= value <= 100, "is not in 1..100")
    parser.add_argument(
        "--quality", type=quality, default=95, metavar="1..100", help="of JPEG (%(default)s)"
    )
    add_raw_colors(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "frames")
