"""Segments videos into label maps: palette PNGs that hold class indices, named as the frames.

    cffm predict --video-input street.mp4 --output labels/ --opts MODEL.WEIGHTS hf://owner/repository
    cffm predict --config-file vspw/cffm_mit_b1 --input frames/ --output labels/ \\
        --opts MODEL.WEIGHTS cffm_mit_b1.pth

What `cffm demo --masks` writes, without pictures. Of several videos each has a folder of its own.
Exit codes are those of `cffm demo`.
"""

import argparse
import sys
from collections.abc import Sequence

from . import demo

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    demo.add_model_and_inputs(parser)
    args = parser.parse_args(argv)
    return demo.run_until_stopped(
        argparse.Namespace(**vars(args) | {"masks": args.output} | _NO_PICTURES)
    )


if __name__ == "__main__":
    sys.exit(main())
