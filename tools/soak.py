#!/usr/bin/env python3
"""Runs streams, training and evaluation for long, and says whether memory or open files grow.

The same as `cffm soak`.
"""

import sys

from cffm_plugin.cli.soak import main

if __name__ == "__main__":
    sys.exit(main())
