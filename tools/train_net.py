#!/usr/bin/env python3
"""Trains or evaluates a segmentor through Detectron2's engine.

    python tools/train_net.py --num-gpus 4 --config-file configs/vspw/cffm_mit_b1.yaml
    python tools/train_net.py --eval-only --config-file ... MODEL.WEIGHTS model_final.pth

Without a GPU, --num-gpus N starts N processes on the CPU. torchrun and srun start it too, without
--num-gpus (docs/clusters.md). At SIGTERM, SIGUSR1 or Ctrl-C training writes a checkpoint and ends
with the exit code 75; --resume goes on.
"""

from detectron2.engine import default_argument_parser

from cffm_plugin.engine import CFFMTrainer, launch_job, main
from cffm_plugin.report import report_of_config

if __name__ == "__main__":
    args = default_argument_parser(epilog=__doc__).parse_args()
    launch_job(main, args, CFFMTrainer, report_of_config)
