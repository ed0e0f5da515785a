#!/usr/bin/env python3
"""Shows the clips that a config trains on.

The same as `cffm visualize`.
"""

import sys

from cffm_plugin.video.visualize_data import main

if __name__ == "__main__":
    sys.exit(main())
