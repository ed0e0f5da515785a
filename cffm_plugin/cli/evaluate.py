"""Evaluates MODEL.WEIGHTS on DATASETS.TEST: `cffm train --eval-only`.

    cffm evaluate --config-file vspw/cffm_mit_b1 MODEL.WEIGHTS cffm_mit_b1.pth
    cffm evaluate --config-file vspw/cffm_mit_b1 MODEL.WEIGHTS hf://owner/repository

The log ends with the scores; OUTPUT_DIR/inference/vspw_results.json holds them. With --resume, the
last checkpoint of OUTPUT_DIR is what is evaluated.
"""

import argparse
from collections.abc import Sequence

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    frame.add_training_flags(parser)
    args = frame.parse(parser, argv)
    args.eval_only = True
    return args


main = frame.command(parse_args, "train")
