"""What `cffm report` does, with the arguments of ``cffm_plugin.cli.report``."""

import argparse
import logging
import shlex

from ...report import ReportOptions, find_model, make_report
from ..prediction_arguments import reading_options
from .named_dataset import named_dataset


def run(args: argparse.Namespace) -> None:
    """Make the report and print its path."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    dataset = named_dataset(args)
    models = [find_model(text, args.dataset or "") for text in args.predictions]
    index = make_report(
        *(dataset, models, args.output),
        ReportOptions(
            players=args.players,
            max_megabytes=args.max_megabytes,
            player_width=args.player_width,
            order=args.order,
            **reading_options(args),
            command=shlex.join(["cffm", "report", *map(str, args.words)]),
        ),
    )
    print(index)
