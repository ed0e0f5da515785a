#!/usr/bin/env python3
"""Trains a small model on CamVid, and shows what it makes of real video.

The same as `cffm make-demo`.
"""

import sys

from cffm_plugin.cli.make_demo import main

if __name__ == "__main__":
    sys.exit(main())
