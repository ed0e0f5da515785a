"""Segments many videos: into label maps, painted videos, or both.

    cffm segment-videos --config-file vspw/cffm_mit_b1 --input videos/ --masks labels/ \
        --num-gpus 2 MODEL.WEIGHTS cffm_mit_b1.pth

--input takes video files, folders of them, folders of images (each a video), folders of such
folders, and text files with a path per line. Frames are read ahead of the model and written behind
it, processes share the videos, and --streams of them are segmented at a time. A video is there
whole or not at all: stopped, and called again in the same way, the command goes on where it was.
Without a GPU, let --num-gpus be the number of cores.

Exit codes: 0 done; 1 an error, or some videos failed, which are listed at the end.
"""

import argparse
from collections.abc import Sequence

from . import frame
from .demo import add_painting, add_raw_colors


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="PATH", help="videos, folders, lists (.txt)"
    )
    parser.add_argument("--masks", metavar="DIR", help="a folder of label maps for every video")
    parser.add_argument("--output", metavar="DIR", help="a painted video (.mp4) for every video")
    parser.add_argument(
        "--streams", type=int, default=1, help="videos at a time, per process (%(default)s)"
    )
    parser.add_argument(
        "--ahead", type=int, default=8, help="frames to read ahead of the model (%(default)s)"
    )
    add_painting(parser)
    add_raw_colors(parser)
    frame.add_training_flags(parser)
    args = frame.parse(parser, argv)
    if not (args.masks or args.output):
        parser.error("name a folder to write to: --masks DIR, --output DIR, or both.")
    return args


main = frame.command(parse_args, "segment_videos", frame.GOES_ON)
