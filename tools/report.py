#!/usr/bin/env python3
"""Makes a folder of HTML of one evaluation or several, which opens from the disk.

The same as `cffm report`.
"""

import sys

from cffm_plugin.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
