"""What `cffm score` does, with the arguments of ``cffm_plugin.cli.score``."""

import argparse
import logging

from ...evaluation import score_predictions
from ...evaluation.tables import (
    class_table,
    official_table,
    strict_table,
    summary_table,
)
from ..prediction_arguments import reading_options
from .named_dataset import named_dataset


def run(args: argparse.Namespace) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s")
    scores = score_predictions(
        named_dataset(args),
        args.predictions,
        frame_offset=args.frame_offset,
        in_order=args.in_order,
        **reading_options(args),
    )
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
