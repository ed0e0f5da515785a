#!/usr/bin/env python3
"""Makes the global prototypes that CFFM++ needs, one file per video, from a trained CFFM.

    python tools/make_prototypes.py --num-gpus 4 --config-file configs/vspw/cffm_mit_b1.yaml \\
        --datasets vspw_train vspw_val --output prototypes/mit_b1 MODEL.WEIGHTS cffm_mit_b1.pth

Interrupted, it goes on when called again. Then train configs/vspw/cffm_plus_mit_b1.yaml with
MODEL.TEMPORAL.PROTOTYPES.FOLDER prototypes/mit_b1.
"""

import argparse

from detectron2.engine import default_argument_parser

from cffm_plugin.engine import launch_job, setup
from cffm_plugin.engine.prototype_making import make_prototypes
from cffm_plugin.stopping import stops_raised


def main(args: argparse.Namespace) -> None:
    with stops_raised():  # a process of its own, where there are several
        make_prototypes(setup(args), args.datasets, args.output)


if __name__ == "__main__":
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--datasets", nargs="+", required=True, help="registered names")
    parser.add_argument("--output", required=True, help="the folder to write")
    with stops_raised("The same command goes on from here."):
        launch_job(main, parser.parse_args())
