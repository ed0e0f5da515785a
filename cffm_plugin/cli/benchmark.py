"""Measures how fast a config's model is, with random weights, side by side in one process.

    cffm benchmark --config-file vspw/cffm_mit_b1 \
        --modes stream clip image backbone --peer --json b1.json
    cffm benchmark --config-file vspw/cffm_mit_b1 --modes train

The steps are run in turn, and their medians are compared; cffm_plugin/benchmark/modes.py says what
a step is. --peer adds SegFormer of the library transformers in the same size, image by image.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..constants import BENCHMARK_MODES
from . import frame

DTYPES = ("bfloat16", "float16")


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument(
        "--modes", nargs="+", choices=BENCHMARK_MODES, default=["stream", "clip", "image"]
    )
    parser.add_argument("--peer", action="store_true", help="also transformers' SegFormer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--autocast", choices=DTYPES, help="half precision, beside float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile backbone and CFFM")
    parser.add_argument("--streams", type=int, default=1, help="at a time, of `stream`")
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "benchmark")
