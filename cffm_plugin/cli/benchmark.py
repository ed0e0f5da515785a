"""Measures how fast a config's model is, with random weights, side by side in one process.

    cffm benchmark --config-file vspw/cffm_mit_b1 \
        --modes stream clip image backbone --peer --json b1.json
    cffm benchmark --config-file vspw/cffm_mit_b1 --modes train
    cffm benchmark --config-file vspw/cffm_mit_b0 --modes evaluate

The steps are run in turn, and their medians are compared; cffm_plugin/benchmark/modes.py says what
a step is. --peer adds SegFormer of the library transformers in the same size, image by image.
`dataloader` and `evaluate` work on a small generated dataset.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..constants import BENCHMARK_MODES
from . import frame

DTYPES = ("bfloat16", "float16")
MIT = ("mit_b1", "mit_b0", "mit_b2", "mit_b5")
# Suite -> name of a model -> its config, and keys.
SUITES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "gpu": {
        **{name: (f"vspw/cffm_{name}", []) for name in MIT},
        **{
            f"DINOv3 ViT-{size}": (
                "vspw/cffm_dinov3_vits16",
                ["MODEL.TIMM.NAME", f"vit_{size}_patch16_dinov3", "MODEL.TIMM.PRETRAINED", "False"],
            )
            for size in ("small", "base", "large")
        },
    }
}


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config-file")
    what.add_argument(
        "--suite", choices=SUITES, help="all models and modes of a table of docs/benchmarks.md"
    )
    parser.add_argument(
        "--modes", nargs="+", choices=BENCHMARK_MODES, default=["stream", "clip", "image"]
    )
    parser.add_argument("--peer", action="store_true", help="also transformers' SegFormer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--frames", type=int, default=20, help="per video, of `evaluate`")
    parser.add_argument("--autocast", choices=DTYPES, help="half precision, beside float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile backbone and CFFM")
    parser.add_argument("--streams", type=int, default=1, help="at a time, of `stream`")
    frame.add_overrides(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "benchmark")
