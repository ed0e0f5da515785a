#!/usr/bin/env python3
"""Segments many videos: into label maps, painted videos, or both.

The same as `cffm segment-videos`.
"""

import sys

from cffm_plugin.cli.segment_videos import main

if __name__ == "__main__":
    sys.exit(main())
