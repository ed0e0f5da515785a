#!/usr/bin/env python3
"""Scores prediction PNGs of any model against a registered dataset or one in VSPW's layout.

The same as `cffm score`.
"""

import sys

from cffm_plugin.cli.score import main

if __name__ == "__main__":
    sys.exit(main())
