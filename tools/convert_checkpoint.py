#!/usr/bin/env python3
"""Converts a published checkpoint into one for this package's configs.

The same as `cffm convert`.
"""

import sys

from cffm_plugin.cli.convert import main

if __name__ == "__main__":
    sys.exit(main())
