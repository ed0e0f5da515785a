#!/usr/bin/env python3
"""Trains or evaluates Mask2Former with CFFM; flags as of Detectron2's own scripts.

    python projects/Mask2Former/train_net.py --num-gpus 4 \\
        --config-file projects/Mask2Former/configs/cffm_mask2former_r50_vspw.yaml
"""

from detectron2.engine import default_argument_parser

from cffm_plugin.engine import CFFMTrainer, launch_job, main
from cffm_plugin.report import report_of_config

if __name__ == "__main__":
    args = default_argument_parser(epilog=__doc__).parse_args()
    launch_job(main, args, CFFMTrainer, report_of_config)
