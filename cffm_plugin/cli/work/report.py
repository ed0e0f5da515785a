"""What `cffm report` does, with the arguments of ``cffm_plugin.cli.report``."""

import argparse
import logging
import shlex

from ...data import register_video_folder_from_yaml
from ...report import ReportedDataset, ReportOptions, find_model, make_report
from ..prediction_arguments import reading_options


def run(args: argparse.Namespace) -> None:
    """Make the report and print its path."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    for file in args.video_folders:
        register_video_folder_from_yaml(file)
    dataset = _dataset(args)
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


def _dataset(args: argparse.Namespace) -> ReportedDataset:
    if args.dataset is not None:
        return ReportedDataset.registered(args.dataset)
    if args.num_classes is not None:
        return ReportedDataset.in_folder(args.dataset_root, args.split, args.num_classes)
    return ReportedDataset.in_folder(args.dataset_root, args.split)
