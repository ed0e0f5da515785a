#!/usr/bin/env python3
"""Trains and evaluates several configs with several seeds, and writes one table of all.

The same as `cffm compare`.
"""

import sys

from cffm_plugin.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
