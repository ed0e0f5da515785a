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
from collections.abc import Sequence
from pathlib import Path

from . import frame, prediction_arguments


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    prediction_arguments.add_dataset(parser)
    parser.add_argument("--predictions", type=Path, required=True, help="folder of PNGs")
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
    prediction_arguments.add_reading(parser, "score", "scores do")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores here too")
    args = frame.parse(parser, argv)
    prediction_arguments.check_dataset(parser, args)
    return args


main = frame.command(parse_args, "score")
