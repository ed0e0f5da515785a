#!/usr/bin/env python3
"""A web page that shows a video through an image and a video segmentor.

The same as `cffm web`.
"""

import sys

from cffm_plugin.web.app import main

if __name__ == "__main__":
    sys.exit(main())
