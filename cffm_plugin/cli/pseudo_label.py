"""Labels videos with a trained segmentor, and makes a dataset of them that another can train on.

    cffm pseudo-label --num-gpus 2 --config-file vspw/segformer_mit_b1 \
        --input videos --output output/pseudo --min-confidence 0.5 MODEL.WEIGHTS segformer.pth

--input holds a folder of frames per video; for other layouts, such as VSPW's, see --frames. Writes
a PNG per frame, OUTPUT/masks/VIDEO/FRAME.png, and OUTPUT/NAME.yaml for DATASETS.VIDEO_FOLDERS. Of
each frame, class probabilities are averaged over scales and flips. Stopped, and called again in the
same way, it goes on where it was. Without a GPU, let --num-gpus be the number of cores.
"""

import argparse
from collections.abc import Sequence

from ..constants import FRAMES_OF_VIDEOS
from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="DIR", help="the folder of videos")
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--frames",
        default=FRAMES_OF_VIDEOS,
        metavar="FORMAT",
        help='path of a frame below --input, such as "data/{video}/origin/{frame}.jpg" for VSPW '
        "(%(default)s)",
    )
    parser.add_argument(
        "--videos",
        nargs="+",
        metavar="NAME",
        help="these alone: their names, or one file with a name per line",
    )
    parser.add_argument("--name", default="pseudo", help="of the dataset (%(default)s)")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[0.75, 1.0, 1.25],
        metavar="S",
        help="sizes to see each frame in, over INPUT.CLIP.FIT_SIZE (%(default)s)",
    )
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="see each also flipped (%(default)s)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="pixels whose class has a lower probability become void, 0 <= P < 1 (%(default)s)",
    )
    frame.add_training_flags(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "pseudo_label", frame.GOES_ON)
