#!/usr/bin/env python3
"""Writes the graphs that a stream needs, by torch.export and as ONNX; see docs/export.md.

The same as `cffm export`.
"""

import sys

from cffm_plugin.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
