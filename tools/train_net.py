#!/usr/bin/env python3
"""Trains or evaluates a segmentor through Detectron2's engine.

The same as `cffm train`.
"""

import sys

from cffm_plugin.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
