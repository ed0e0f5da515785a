#!/usr/bin/env python3
"""Checks datasets: reads every frame and mask and says what is amiss.

The same as `cffm check`.
"""

import sys

from cffm_plugin.cli.check import main

if __name__ == "__main__":
    sys.exit(main())
