"""Evaluates MODEL.WEIGHTS on DATASETS.TEST: `cffm train --eval-only`.

    cffm evaluate --config-file vspw/cffm_mit_b1 MODEL.WEIGHTS cffm_mit_b1.pth
    cffm evaluate --config-file vspw/cffm_mit_b1 MODEL.WEIGHTS hf://owner/repository

The log ends with the scores; OUTPUT_DIR/inference/vspw_results.json holds them. With --resume, the
last checkpoint of OUTPUT_DIR is what is evaluated.
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
    args = default_argument_parser(epilog=__doc__).parse_args(argv)
    args.eval_only = True
    with errors_as_messages():
        launch_job(train, args, CFFMTrainer, report_of_config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
