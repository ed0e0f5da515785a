"""What `cffm prototypes` does."""

import argparse

from ...engine import launch_job, setup
from ...engine.prototype_making import make_prototypes
from ...stopping import stops_raised


def make(args: argparse.Namespace) -> None:
    """What every process does."""
    with stops_raised():  # a process of its own, where there are several
        make_prototypes(setup(args), args.datasets, args.output)


def run(args: argparse.Namespace) -> None:
    launch_job(make, args)
