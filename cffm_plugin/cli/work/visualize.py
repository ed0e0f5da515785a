"""What `cffm visualize` does."""

import argparse
from contextlib import suppress
from pathlib import Path

import numpy as np
from detectron2.utils.logger import setup_logger

from ...config import load_config
from ...engine import completed
from ...files import whole_file
from ...video.visualize_data import sheets
from ...video.writing import Window, WindowClosedError


def run(args: argparse.Namespace) -> None:
    with suppress(WindowClosedError):
        show(args)


def show(args: argparse.Namespace) -> None:
    setup_logger(name="cffm_plugin")
    cfg = completed(load_config(args.config_file, args.opts))
    window = Window("Write files instead: leave --show out.") if args.show else None
    count = 0
    for name, sheet in sheets(cfg, args.source, args.num_clips):
        if window is not None:
            window.show(np.array(sheet))
            continue
        with whole_file(Path(args.output, f"{name}.png"), durable=False) as partial:
            sheet.save(partial)
        count += 1
    if window is None:
        print(f"{count} clips are in {args.output}")
