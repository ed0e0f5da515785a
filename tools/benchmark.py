#!/usr/bin/env python3
"""Measures how fast a config's model is, with random weights, side by side in one process.

The same as `cffm benchmark`.
"""

import sys

from cffm_plugin.cli.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
