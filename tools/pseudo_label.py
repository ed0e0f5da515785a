#!/usr/bin/env python3
"""Labels videos with a trained segmentor, and makes a dataset of them that another can train on.

The same as `cffm pseudo-label`.
"""

import sys

from cffm_plugin.cli.pseudo_label import main

if __name__ == "__main__":
    sys.exit(main())
