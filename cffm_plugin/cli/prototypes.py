"""Makes the global prototypes that CFFM++ needs, one file per video, from a trained CFFM.

    cffm prototypes --num-gpus 4 --config-file vspw/cffm_mit_b1 \\
        --datasets vspw_train vspw_val --output prototypes/mit_b1 MODEL.WEIGHTS cffm_mit_b1.pth

Interrupted, it goes on when called again. Then train vspw/cffm_plus_mit_b1 with
MODEL.TEMPORAL.PROTOTYPES.FOLDER prototypes/mit_b1.
"""

import argparse
from collections.abc import Sequence

from . import frame


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = frame.make_parser(__doc__)
    parser.add_argument("--datasets", nargs="+", required=True, help="registered names")
    parser.add_argument("--output", required=True, help="the folder to write")
    frame.add_training_flags(parser)
    return frame.parse(parser, argv)


main = frame.command(parse_args, "prototypes", frame.GOES_ON)
