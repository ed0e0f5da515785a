"""Writes a synthetic video segmentation dataset in VSPW's layout.

    cffm synthetic
    cffm synthetic --output DIR --videos 8 2 2 --frames 12 --size 96 128

Interrupted, it goes on when called again; called with the same options, it leaves what is there.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..constants import (
    SPLITS,
    SYNTHETIC_CLASSES,
    SYNTHETIC_FRAMES,
    SYNTHETIC_SIZE,
    SYNTHETIC_VIDEOS,
)
from . import frame

FOLDER = "synthetic_vspw"  # where the registered datasets of this name look


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    datasets = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    parser.add_argument(
        "--output", type=Path, default=datasets / FOLDER, help="the folder to write (%(default)s)"
    )
    parser.add_argument(
        "--videos",
        type=int,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=[SYNTHETIC_VIDEOS[split] for split in SPLITS],
        help="videos in each split (%(default)s)",
    )
    parser.add_argument(
        "--frames", type=int, default=SYNTHETIC_FRAMES, help="frames in each video (%(default)s)"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        default=SYNTHETIC_SIZE,
        help="size of the frames (%(default)s)",
    )
    parser.add_argument(
        "--classes", type=int, default=SYNTHETIC_CLASSES, help="2 to 124 (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a synthetic dataset of other options"
    )
    return frame.parse(parser, argv)


main = frame.command(parse_args, "synthetic")
