#!/usr/bin/env python3
"""Makes the global prototypes that CFFM++ needs, one file per video, from a trained CFFM.

The same as `cffm prototypes`.
"""

import sys

from cffm_plugin.cli.prototypes import main

if __name__ == "__main__":
    sys.exit(main())
