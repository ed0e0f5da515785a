#!/usr/bin/env python3
"""From nothing to a trained and evaluated CFFM in minutes, on a CPU.

The same as `cffm quickstart`.
"""

import sys

from cffm_plugin.cli.quickstart import main

if __name__ == "__main__":
    sys.exit(main())
