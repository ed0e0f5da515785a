"""What `cffm web` does."""

import argparse
from contextlib import suppress

from ...stopping import Stopped
from ...web.app import served
from .configs import log_to_terminal


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, which are no errors here. Returns the exit code."""
    log_to_terminal()
    with served(args) as page, suppress(KeyboardInterrupt, Stopped):
        page.block_thread()
    return 0
