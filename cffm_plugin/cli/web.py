"""Serves a web page where people upload or record a video, and see the image
segmentor and the video segmentor side by side.

    cffm web --model model_final.pth --model other.pth other.yaml

It is seen on this machine alone, unless --host or --share says otherwise. Without --model: the
model of `cffm make-demo`.
"""

import argparse
from collections.abc import Sequence

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "--model",
        nargs="+",
        action=_OneOrTwo,
        metavar=("WEIGHTS", "CONFIG"),
        help="a model to choose from; the config may be left out where the weights carry theirs",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (%(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="(%(default)s)")
    parser.add_argument(
        "--share", action="store_true", help="a public address, through gradio's servers"
    )
    positive = frame.number(float, lambda value: 0 < value < 1e9, "is not above 0")
    parser.add_argument(
        "--max-mb", type=positive, default=100.0, metavar="N", help="of a file (%(default)s)"
    )
    parser.add_argument(
        "--max-seconds", type=positive, default=20.0, metavar="N", help="of a video (%(default)s)"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=1920 * 1088,
        metavar="N",
        help="of a frame (%(default)s, which is 1920x1088)",
    )
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


class _OneOrTwo(argparse.Action):
    """Appends one or two values."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) > 2:
            parser.error("--model WEIGHTS [CONFIG]: " + " ".join(values))
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), values])


main = frame.command(parse_args, "web")
