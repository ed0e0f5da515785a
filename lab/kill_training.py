"""Kills trainings at random moments, resumes them, and compares their ends with one left alone.

    python -m lab.kill_training --config-file quickstart/cffm --kills 20 \\
        --output output/kills SOLVER.MAX_ITER 12 SOLVER.CHECKPOINT_PERIOD 2

Half of the kills (SIGKILL, to all processes of a training) are at any moment, half while a
checkpoint is written. Exit code 1: the final checkpoint, with the optimizer's state, has not the
same bits. On a GPU that needs deterministic kernels.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cffm_plugin.experiments import TRAIN

from .kills import Training, kill_and_resume, kills_table


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    command: tuple[str, ...] = (
        *TRAIN,
        "--config-file",
        args.config_file,
        "--num-gpus",
        str(args.num_gpus),
    )
    command += ("--resume", *args.opts)
    reference = Training(command, args.output / "left_alone")
    if any(args.output.glob("*")):
        sys.exit(f"{args.output} is not empty: name another --output, or remove it")
    start = time.monotonic()
    reference.finish()
    seconds = time.monotonic() - start
    print(f"Left alone, the training takes {seconds:.1f} s", file=sys.stderr)
    kills = []
    for seed in range(args.seed, args.seed + args.kills):
        training = Training(command, args.output / f"killed_{seed}")
        kills.append(kill_and_resume(training, reference, seed, seconds))
        print(kills[-1], file=sys.stderr)
    print(kills_table(kills))
    return 1 if any(kill.difference for kill in kills) else 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, required=True, help="an empty folder")
    parser.add_argument("--kills", type=int, default=20, help="trainings (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (%(default)s)")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes of each (%(default)s)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ... of the config")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    return run(parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
