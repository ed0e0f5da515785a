"""Trains or evaluates a segmentor through Detectron2's engine.

    cffm train --num-gpus 4 --config-file vspw/cffm_mit_b1
    cffm train --eval-only --config-file ... MODEL.WEIGHTS model_final.pth

Without a GPU, --num-gpus N starts N processes on the CPU. torchrun and srun start it too, without
--num-gpus (docs/clusters.md). At SIGTERM, SIGUSR1 or Ctrl-C training writes a checkpoint and ends
with the exit code 75; --resume goes on. A wrong name, key or file is an error of one line on stderr
and the exit code 1.
"""

import sys
from collections.abc import Sequence

from detectron2.engine import default_argument_parser

from ..engine import CFFMTrainer, launch_job
from ..engine import main as train
from ..errors import errors_as_messages
from ..report import report_of_config


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile: the same as SOLVER.COMPILE True TEST.COMPILE True",
    )
    args = parser.parse_args(argv)
    if args.compile:
        args.opts = ["SOLVER.COMPILE", "True", "TEST.COMPILE", "True", *args.opts]
    with errors_as_messages():
        launch_job(train, args, CFFMTrainer, report_of_config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
