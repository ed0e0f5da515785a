"""Scores prediction PNGs of any model against a registered dataset or one in VSPW's layout.

    cffm score --dataset-root datasets/vspw/VSPW_480p --split val \
        --predictions output/inference/result_submission --json scores.json
    cffm score --dataset camvid_val --predictions PNGS
    cffm score --video-folders mine.yaml --dataset mine_val \
        --predictions PNGS

Predictions are <predictions>/<video>/<frame>.png with one channel that holds class indices from 0.
Where they are called otherwise than the frames, --frame-offset or --in-order says how.
Prints a table per class, the official VSPW numbers, with the mVC of every script that counts it in
a way of its own, and stricter ones: strict_VC<n> counts the pixels whose truth is one class, never
void, over all n frames of a window, and which share of them keeps its prediction;
temporal_accuracy<n>, which share of them is right in all n frames. Both count all windows of all
videos.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..constants import MAX_MEGAPIXELS
from . import frame


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    dataset = parser.add_mutually_exclusive_group(required=True)
    dataset.add_argument("--dataset", metavar="NAME", help="a registered dataset")
    dataset.add_argument("--dataset-root", type=Path, help="the folder with <split>.txt and data/")
    parser.add_argument("--split", help="name of the list file without .txt, for --dataset-root")
    parser.add_argument(
        "--video-folders",
        nargs="+",
        default=[],
        metavar="YAML",
        help="register the datasets of these files first, see datasets/README.md",
    )
    parser.add_argument("--predictions", type=Path, required=True, help="folder of PNGs")
    parser.add_argument("--num-classes", type=int, help="for --dataset-root (124)")
    parser.add_argument(
        "--one-based", action="store_true", help="PNGs hold k + 1 for class k, as VSPW's masks do"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score the frames whose predictions are there and fit, and warn of the others",
    )
    matching = parser.add_mutually_exclusive_group()
    matching.add_argument(
        "--frame-offset",
        type=int,
        metavar="N",
        help="compare names by their numbers alone: PNG number n is of frame n + N (0 where "
        "padding or suffixes differ)",
    )
    matching.add_argument(
        "--in-order",
        action="store_true",
        help="the PNGs of a video are its frames', or its labelled frames', in order",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help="larger images are an error (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores here too")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(os.cpu_count() or 1, 8),
        help="processes; the scores do not depend on it (%(default)s)",
    )
    args = frame.parse(parser, argv)
    if args.dataset is not None and (args.split or args.num_classes):
        parser.error("--dataset takes no --split or --num-classes: its registration says them.")
    if args.dataset_root is not None and (args.split is None or args.video_folders):
        parser.error("--dataset-root needs --split, and takes no --video-folders.")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    return frame.main(parse_args, "score", argv)


if __name__ == "__main__":
    sys.exit(main())
