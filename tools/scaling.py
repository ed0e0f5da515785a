#!/usr/bin/env python3
"""Measures how time and memory of a stream grow, and draws it.

The same as `cffm scaling`.
"""

import sys

from cffm_plugin.cli.scaling import main

if __name__ == "__main__":
    sys.exit(main())
