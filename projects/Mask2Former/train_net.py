#!/usr/bin/env python3
"""Trains or evaluates Mask2Former with CFFM; flags as of Detectron2's own scripts.

    python projects/Mask2Former/train_net.py --num-gpus 4 \\
        --config-file projects/Mask2Former/configs/cffm_mask2former_r50_vspw.yaml
"""

import sys

from cffm_plugin.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
