#!/usr/bin/env python3
"""Kills trainings at random moments, resumes them, and compares their ends with one left alone.

The same as `cffm kill-training`.
"""

import sys

from cffm_plugin.cli.kill_training import main

if __name__ == "__main__":
    sys.exit(main())
