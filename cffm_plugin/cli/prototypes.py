"""Makes the global prototypes that CFFM++ needs, one file per video, from a trained CFFM.

    cffm prototypes --num-gpus 4 --config-file vspw/cffm_mit_b1 \\
        --datasets vspw_train vspw_val --output prototypes/mit_b1 MODEL.WEIGHTS cffm_mit_b1.pth

Interrupted, it goes on when called again. Then train vspw/cffm_plus_mit_b1 with
MODEL.TEMPORAL.PROTOTYPES.FOLDER prototypes/mit_b1.
"""

import argparse
import sys
from collections.abc import Sequence

from detectron2.engine import default_argument_parser

from ..engine import launch_job, setup
from ..engine.prototype_making import make_prototypes
from ..errors import errors_as_messages
from ..stopping import stops_raised


def make(args: argparse.Namespace) -> None:
    """What every process does."""
    with stops_raised():  # a process of its own, where there are several
        make_prototypes(setup(args), args.datasets, args.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--datasets", nargs="+", required=True, help="registered names")
    parser.add_argument("--output", required=True, help="the folder to write")
    args = parser.parse_args(argv)
    with errors_as_messages(), stops_raised("The same command goes on from here."):
        launch_job(make, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
