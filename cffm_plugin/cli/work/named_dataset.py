"""The dataset that the arguments of ``cffm_plugin.cli.prediction_arguments`` name."""

import argparse

from ...data import Dataset, register_video_folder_from_yaml


def named_dataset(args: argparse.Namespace) -> Dataset:
    for file in args.video_folders:
        register_video_folder_from_yaml(file)
    if args.dataset is not None:
        return Dataset.registered(args.dataset, args.max_megapixels)
    return Dataset.in_folder(args.dataset_root, args.split, args.num_classes, args.max_megapixels)
