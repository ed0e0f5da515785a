#!/usr/bin/env python3
"""Writes a model as a folder that others can load by name. The same as `cffm publish`."""

import sys

from cffm_plugin.cli.publish import main

if __name__ == "__main__":
    sys.exit(main())
