"""Trains a small model on CamVid, and shows what it makes of real video.

    cffm make-demo --data /folder/with/camvid

Half an hour on a CPU. Writes OUTPUT/cffm_camvid.safetensors, in half precision, which `cffm demo`
and `cffm web` take where no other weights are named, and OUTPUT/val.mp4: CamVid's validation
video through the image segmentor alone and through CFFM. Stopped, and called again, it goes on
where it was. configs/camvid/demo.yaml is the recipe.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..constants import DEMO_WEIGHTS
from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="CamVid in the layout of datasets/README.md, or a folder that holds it as CamVid/",
    )
    parser.add_argument("--output", type=Path, default=Path(DEMO_WEIGHTS).parent)
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="a few seconds of the video as an animation too, .webp or .gif",
    )
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "make_demo", frame.GOES_ON)
