"""Checks datasets: reads every frame and mask and says what is amiss. Or this machine.

    cffm check --dataset-root DIR          # a folder in VSPW's layout
    cffm check --dataset-root DIR --split train val --num-classes 10 --json report.json
    cffm check --dataset-root DIR --fix CORRECTED
    cffm check --dataset camvid_train camvid_val
    cffm check --video-folders mine.yaml --dataset mine_train
    cffm check --machine                   # half precision, ports, video, a training step

For every fault it says what it stops, loading, training or evaluation, and what to do. The dataset
is never written to; --fix writes corrected copies of masks into another folder.

Exit codes: 0 if there is no error (with --strict: nor a warning), 1 if there is one, 2 if the check
or the correction could not be done as asked. With --machine: 1 if any of its lines is wrong.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..constants import MAX_MEGAPIXELS
from . import frame, prediction_arguments


def make_parser() -> argparse.ArgumentParser:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "--dataset-root",
        type=Path,
        help="a folder in VSPW's layout ($DETECTRON2_DATASETS/vspw/VSPW_480p)",
    )
    parser.add_argument("--split", nargs="+", help="its lists to check (train val test)")
    parser.add_argument("--num-classes", type=int, help="its number of classes, 1 to 254 (124)")
    parser.add_argument(
        "--dataset", nargs="+", metavar="NAME", help="check registered datasets, not a folder"
    )
    prediction_arguments.add_video_folders(parser)
    parser.add_argument(
        "--offsets",
        type=int,
        nargs="*",
        help="MODEL.TEMPORAL.FRAME_OFFSETS of the training (-9 -6 -3)",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help="INPUT.MAX_MEGAPIXELS of the training: larger images are errors (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report")
    parser.add_argument(
        "--fix", type=Path, metavar="DIR", help="write corrected copies of masks into this folder"
    )
    parser.add_argument(
        "--machine",
        action="store_true",
        help="check no dataset but this machine, in seconds; see docs/machines.md",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    args = frame.parse(parser, argv)
    folder_arguments = (args.dataset_root, args.split, args.num_classes)
    if args.dataset and folder_arguments != (None, None, None):
        parser.error(
            "--dataset takes no --dataset-root, --split or --num-classes: registration did."
        )
    if args.video_folders and not args.dataset:
        parser.error("--video-folders registers datasets; name those to check with --dataset.")
    return args


main = frame.command(parse_args, "check")
