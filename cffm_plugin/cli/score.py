"""Scores prediction PNGs of any model against a registered dataset or one in VSPW's layout.

    cffm score --dataset-root datasets/vspw/VSPW_480p --split val \\
        --predictions output/inference/result_submission --json scores.json
    cffm score --dataset camvid_val --predictions PNGS
    cffm score --video-folders mine.yaml --dataset mine_val \\
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
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..data import DEFAULT_MAX_MEGAPIXELS, register_video_folder_from_yaml
from ..evaluation import DatasetScores, score_dataset_predictions, score_predictions
from ..evaluation.results import (
    class_table,
    official_table,
    strict_table,
    summary_table,
    write_json,
)
from ..stopping import stops_raised


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        default=DEFAULT_MAX_MEGAPIXELS,
        help="larger images are an error (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores here too")
    parser.add_argument(
        "--jobs",
        type=int,
        default=min(os.cpu_count() or 1, 8),
        help="processes; the scores do not depend on it (%(default)s)",
    )
    args = parser.parse_args(argv)
    if args.dataset is not None and (args.split or args.num_classes):
        parser.error("--dataset takes no --split or --num-classes: its registration says them.")
    if args.dataset_root is not None and (args.split is None or args.video_folders):
        parser.error("--dataset-root needs --split, and takes no --video-folders.")
    return args


def score(args: argparse.Namespace) -> DatasetScores:
    options = {
        "one_based": args.one_based,
        "partial": args.partial,
        "frame_offset": args.frame_offset,
        "in_order": args.in_order,
        "jobs": args.jobs,
        "progress": True,
        "max_megapixels": args.max_megapixels,
    }
    for file in args.video_folders:
        register_video_folder_from_yaml(file)
    if args.dataset is not None:
        return score_dataset_predictions(args.dataset, args.predictions, **options)
    if args.num_classes is not None:
        options["num_classes"] = args.num_classes
    return score_predictions(args.dataset_root, args.split, args.predictions, **options)


def run(args: argparse.Namespace) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        scores = score(args)
        if args.json is not None:
            write_json(scores, args.json)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    scored = f"{scores.scored_frames} of {scores.frames} frames"
    print(f"{scores.dataset}: {len(scores.videos)} videos, {scored} scored\n")
    print(f"Percent per class:\n{class_table(scores)}\n")
    print(f"Strict scores, percent:\n{strict_table(scores)}\n")
    print(f"Official scores, percent:\n{summary_table(scores)}\n")
    print(f"Official scores, unrounded:\n{official_table(scores)}")
    if args.json is not None:
        print(f"\nWritten to {args.json}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    with stops_raised():
        run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
