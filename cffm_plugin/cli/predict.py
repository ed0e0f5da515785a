"""Segments videos into label maps: palette PNGs that hold class indices, named as the frames.

    cffm predict --video-input street.mp4 --masks labels/ --opts MODEL.WEIGHTS hf://owner/repository
    cffm predict --config-file vspw/cffm_mit_b1 --input frames/ --masks labels/ \\
        --opts MODEL.WEIGHTS cffm_mit_b1.pth

What `cffm demo --masks` writes, without pictures. Of several videos each has a folder of its own.
Exit codes are those of `cffm demo`.
"""

import argparse
from collections.abc import Sequence

from . import demo, frame

# What `cffm demo` asks of pictures, of which there are none.
_NO_PICTURES = {
    "output": None,
    "keep_audio": False,
    "fps": None,
    "side_by_side": False,
    "legend": "off",
    "opacity": 0.0,
    "confidence_threshold": 0.0,
}


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--masks", required=True, metavar="DIR", help="the folder to write")
    demo.add_model_and_inputs(parser)
    return argparse.Namespace(**vars(frame.parse(parser, argv)) | _NO_PICTURES)


main = frame.command(parse_args, "demo")
