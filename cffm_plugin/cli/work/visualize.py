"""What `cffm visualize` does."""

import argparse
from contextlib import suppress
from pathlib import Path

import numpy as np
from detectron2.utils.logger import setup_logger

from ...config import load_config
from ...data import check_registered
from ...engine import complete_config
from ...files import whole_file
from ...video.visualize_data import sheets
from ...video.writing import Window, WindowClosedError


def run(args: argparse.Namespace) -> None:
    with suppress(WindowClosedError):
        show(args)


def show(args: argparse.Namespace) -> None:
    setup_logger(name="cffm_plugin")
    cfg = load_config(args.config_file, args.opts)
    complete_config(cfg)
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name at least one registered dataset.")
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    window = Window("Write files instead: leave --show out.") if args.show else None
    count = 0
    for name, sheet in sheets(cfg, args.source, args.num_clips):
        if window is not None:
            window.show(np.array(sheet))
            continue
        with whole_file(Path(args.output_dir, f"{name}.png"), durable=False) as partial:
            sheet.save(partial)
        count += 1
    if window is None:
        print(f"{count} clips are in {args.output_dir}")
