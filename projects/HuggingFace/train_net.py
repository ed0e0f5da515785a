#!/usr/bin/env python3
"""Trains or evaluates a model of Hugging Face's with CFFM; flags as of Detectron2's own scripts.

    python projects/HuggingFace/train_net.py --num-gpus 4 \\
        --config-file projects/HuggingFace/configs/cffm_segformer_b1_ade_vspw.yaml
"""

import sys

from cffm_plugin.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
