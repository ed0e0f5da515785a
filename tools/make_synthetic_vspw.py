#!/usr/bin/env python3
"""Writes a synthetic video segmentation dataset in VSPW's layout.

The same as `cffm synthetic`.
"""

import sys

from cffm_plugin.cli.synthetic import main

if __name__ == "__main__":
    sys.exit(main())
