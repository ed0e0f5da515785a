#!/usr/bin/env python3
"""Trains or evaluates a segmentor through Detectron2's engine.

    python tools/train_net.py --num-gpus 4 --config-file configs/vspw/cffm_mit_b1.yaml
    python tools/train_net.py --eval-only --config-file ... MODEL.WEIGHTS model_final.pth

Without a GPU, --num-gpus N starts N processes on the CPU.
"""

from detectron2.engine import default_argument_parser

from cffm_plugin.engine import launch_job, main

if __name__ == "__main__":
    launch_job(main, default_argument_parser(epilog=__doc__).parse_args())
