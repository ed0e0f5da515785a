"""Writes the graphs that a stream needs, by torch.export and as ONNX; see docs/export.md.

    cffm export --config-file vspw/cffm_mit_b1 --size 480 864 \
        --output exported/ --check MODEL.WEIGHTS cffm_mit_b1.pth
    python tools/run_onnx_stream.py --model exported/ --input video.mp4 --output masks/
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..constants import EXPORT_FORMATS
from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    frame.add_config_file(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        required=True,
        metavar=("H", "W"),
        help="of frames as the model takes them, after resizing: 480 864 for VSPW",
    )
    parser.add_argument("--format", nargs="+", choices=EXPORT_FORMATS, default=list(EXPORT_FORMATS))
    parser.add_argument("--opset", type=int, default=18, help="of ONNX, 18 or higher (%(default)s)")
    parser.add_argument(
        "--full-resolution",
        action="store_true",
        help="the graphs also resize the logits to the frame and give its label map",
    )
    parser.add_argument(
        "--check", action="store_true", help="run what was written on random frames"
    )
    parser.add_argument(
        "--check-openvino",
        action="store_true",
        help="--check runs the ONNX graphs by openvino too: in its own precision and in float32",
    )
    parser.add_argument("--check-frames", type=int, default=20, help="(%(default)s)")
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "export")
