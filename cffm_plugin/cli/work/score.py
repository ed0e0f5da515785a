"""What `cffm score` does, with the arguments of ``cffm_plugin.cli.score``."""

import argparse
import logging

from ...data import register_video_folder_from_yaml
from ...evaluation import DatasetScores, score_dataset_predictions, score_predictions
from ...evaluation.tables import (
    class_table,
    official_table,
    strict_table,
    summary_table,
)


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
    scores = score(args)
    if args.json is not None:
        scores.results().write(args.json)
    scored = f"{scores.scored_frames} of {scores.frames} frames"
    print(f"{scores.dataset}: {len(scores.videos)} videos, {scored} scored\n")
    print(f"Percent per class:\n{class_table(scores)}\n")
    print(f"Strict scores, percent:\n{strict_table(scores)}\n")
    print(f"Official scores, percent:\n{summary_table(scores)}\n")
    print(f"Official scores, unrounded:\n{official_table(scores)}")
    if args.json is not None:
        print(f"\nWritten to {args.json}")
