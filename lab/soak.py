"""Runs streams, training and evaluation for long, and says whether memory or open files grow.

    python -m lab.soak                    # six minutes on two cores; --times 10 an hour
    python -m lab.soak --quick            # seconds: that it works, not that nothing grows

A tiny model on generated data. Resident memory of this process and of its workers, and open file
descriptors, are sampled; the table says how much each grew per 1000 frames or steps after the
warm-up. Exit code 1: something grows by more than the limits. Needs Linux (/proc).
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from .soaks import SOAKS, Limits, growth, soak_config, table_of

LENGTHS = {"streams": 20_000, "training": 2_000, "evaluation": 5_000}
QUICK = {"streams": 160, "training": 12, "evaluation": 60}


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    logging.getLogger("cffm_plugin").setLevel(logging.ERROR)  # streams change their size on purpose
    limits = Limits(args.max_growth, args.max_descriptors, args.noise, args.warmup)
    rows = []
    for name in args.runs:
        length = args.times * (QUICK if args.quick else LENGTHS)[name]
        start = time.monotonic()
        with soak_config(args.device) as cfg:
            samples = SOAKS[name](cfg, length)
        seconds = time.monotonic() - start
        print(f"{name}: {length} in {seconds:.0f} s, {len(samples)} samples", file=sys.stderr)
        rows += growth(f"{name} ({length})", samples, limits)
    print(table_of(rows))
    return 0 if all(row.is_flat for row in rows) else 1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Limits()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small run")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="so much longer")
    parser.add_argument("--runs", nargs="+", choices=SOAKS, default=list(SOAKS))
    parser.add_argument("--device", default="cpu", help="(%(default)s)")
    parser.add_argument(
        "--max-growth",
        type=float,
        default=default.mebibytes,
        metavar="MIB",
        help="of memory per 1000 frames or steps (%(default)s)",
    )
    parser.add_argument(
        "--max-descriptors",
        type=float,
        default=default.descriptors,
        metavar="N",
        help="more open files per 1000 frames or steps (%(default)s)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=default.noise,
        metavar="MIB",
        help="over a whole run: what is no growth (%(default)s)",
    )
    parser.add_argument(
        "--warmup",
        type=float,
        default=default.warmup,
        metavar="SHARE",
        help="of a run, before growth counts (%(default)s)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    return run(parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
