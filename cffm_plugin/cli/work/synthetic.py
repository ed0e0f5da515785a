"""What `cffm synthetic` does, with the arguments of ``cffm_plugin.cli.synthetic``."""

import argparse

from ...synthetic import SPLITS, SyntheticConfig, write_synthetic_vspw
from ..synthetic import FOLDER


def run(args: argparse.Namespace) -> None:
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
