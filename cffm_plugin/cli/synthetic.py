"""Writes a synthetic video segmentation dataset in VSPW's layout.

    cffm synthetic
    cffm synthetic --output DIR --videos 8 2 2 --frames 12 --size 96 128

Interrupted, it goes on when called again; called with the same options, it leaves what is there.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..synthetic import SPLITS, SyntheticConfig, write_synthetic_vspw

FOLDER = "synthetic_vspw"  # where the registered datasets of this name look


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    standard = SyntheticConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    datasets = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    parser.add_argument(
        "--output",
        type=Path,
        default=datasets / FOLDER,
        help="the folder to write (%(default)s)",
    )
    parser.add_argument(
        "--videos",
        type=int,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        default=[standard.num_videos[split] for split in SPLITS],
        help="videos in each split (%(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=standard.frames_per_video,
        help="frames in each video (%(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        default=[standard.height, standard.width],
        help="size of the frames (%(default)s)",
    )
    parser.add_argument(
        "--classes", type=int, default=standard.num_classes, help="2 to 124 (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=standard.seed, help="(%(default)s)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a synthetic dataset of other options"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    try:
        config = SyntheticConfig(
            height=args.size[0],
            width=args.size[1],
            frames_per_video=args.frames,
            num_videos=dict(zip(SPLITS, args.videos)),
            num_classes=args.classes,
            seed=args.seed,
        )
        root = write_synthetic_vspw(
            args.output, config, jobs=args.jobs, overwrite=args.overwrite, progress=True
        ).resolve()
    except (ValueError, FileExistsError) as error:
        sys.exit(str(error))
    print(f"{len(config.videos())} videos of {config.frames_per_video} frames are in {root}")
    if root.name == FOLDER and config.num_classes == SyntheticConfig.num_classes:
        print(f"To use them as {', '.join(f'{FOLDER}_{split}' for split in SPLITS)}:")
        print(f"  export DETECTRON2_DATASETS={root.parent}")
    else:
        print("To use them, for each split:")
        print("  from cffm_plugin.data.datasets import register_vspw")
        print("  from cffm_plugin.synthetic import SYNTHETIC_CLASSES")
        print(f"  classes = SYNTHETIC_CLASSES[:{config.num_classes}]")
        print(f'  register_vspw("my_train", "{root}", "train", classes=classes)')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    run(parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
