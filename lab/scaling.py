"""Measures how time and memory of a stream grow, and draws it.

    python -m lab.scaling --config-file vspw/cffm_mit_b0 --plot docs/scaling.png

Along each axis all else stays as it is: lines of a frame, classes, streams at a time, references.
The exponent is the slope of log time over log size: 1 where time is proportional to pixels,
streams, ... --lines 240 480 and the like choose other values; without any the axis is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from cffm_plugin.benchmark import config_to_measure
from cffm_plugin.files import write_json
from cffm_plugin.stopping import stops_raised

from .axes import AXES, exponent, measure_scaling, plot


def run(args: argparse.Namespace) -> None:
    cfg = config_to_measure(args.config_file, args.opts)
    points_of = {}
    for axis in AXES:
        values = getattr(args, axis)
        if not values:
            continue
        points = measure_scaling(cfg, axis, values, tuple(args.size), args.repeats)
        points_of[axis] = points
        rows = [[point["value"], point["seconds"], point["peak_gb"]] for point in points]
        print(tabulate(rows, [axis, "seconds", "peak GB"], "pipe", floatfmt=".3f"), flush=True)
        if len(points) > 1:
            print(f"time grows with the power {exponent(points):.2f}\n", flush=True)
    if args.json:
        write_json(args.json, points_of)
    if args.plot:
        plot(points_of, args.plot)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    for axis, values in AXES.items():
        parser.add_argument(f"--{axis}", type=int, nargs="*", default=values, metavar="N")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 864), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture, .png or .svg")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    try:
        with stops_raised():
            run(args)
    except OSError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
