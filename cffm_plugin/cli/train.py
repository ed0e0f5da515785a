"""Trains or evaluates a segmentor through Detectron2's engine.

    cffm train --num-gpus 4 --config-file vspw/cffm_mit_b1
    cffm train --eval-only --config-file ... MODEL.WEIGHTS model_final.pth

Without a GPU, --num-gpus N starts N processes on the CPU. torchrun and srun start it too, without
--num-gpus (docs/clusters.md). At SIGTERM, SIGUSR1 or Ctrl-C training writes a checkpoint and ends
with the exit code 75; --resume goes on. A wrong name, key or file is an error of one line on stderr
and the exit code 1.
"""

import argparse
from collections.abc import Sequence

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile: the same as SOLVER.COMPILE True TEST.COMPILE True",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, and don't train")
    frame.add_training_flags(parser)
    args = frame.parse(parser, argv)
    if args.compile:
        args.opts = ["SOLVER.COMPILE", "True", "TEST.COMPILE", "True", *args.opts]
    return args


main = frame.command(parse_args, "train")
