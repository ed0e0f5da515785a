#!/usr/bin/env python3
"""Segments a video and shows every class in its colour.

The same as `cffm demo`.
"""

import sys

from cffm_plugin.cli.demo import main

if __name__ == "__main__":
    sys.exit(main())
