"""Trains and evaluates several configs with several seeds, and writes one table of all.

    cffm compare --start camvid/segformer_efficientnet_lite0_half \\
        --configs camvid/segformer_efficientnet_lite0_half_continued \\
                  camvid/cffm_efficientnet_lite0_half_continued \\
        --seeds 1 2 3 --smoothing 0.3 0.5 --jobs 2 --output output/compare/camvid

The first config is the one that the others are compared with, seed by seed. With --start, the runs
of a seed start from that config's model of that seed. Writes comparison.md and comparison.json.
Stopped, and called again in the same way, it goes on where it was: what is finished is not done
again.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..experiments import TRAIN, Comparison, Run, RunResult, read_results, run_all
from ..files import write_text
from ..stopping import stops_raised


def run(args: argparse.Namespace) -> None:
    names = [Path(config).stem for config in args.configs]
    taken = [*names, "start"] if args.start else names
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        sys.exit(
            f"--configs: models are called after their files, and so are their folders; "
            f"{twice[0]} can stand once. Copy the file to another name."
        )
    models = [
        row for name in names for row in (name, *(_smoothed(name, a) for a in args.smoothing))
    ]
    runs = {
        (model, seed): run
        for seed in args.seeds
        for model, run in runs_of_seed(args, dict(zip(names, args.configs)), seed).items()
    }
    environment = dict(os.environ)
    if args.jobs > 1:  # processes that share the cores
        threads = max(1, (os.cpu_count() or 1) // args.jobs)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        failed = run_all(list(runs.values()), jobs=args.jobs, environment=environment)
        results = read_all(runs, models)
    except (KeyError, ValueError, FileNotFoundError) as error:
        sys.exit(str(error.args[0] if isinstance(error, KeyError) else error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from here.")
    if results:
        comparison = Comparison(models, args.seeds, results)
        write_text(args.output / "comparison.md", comparison.markdown())
        as_json = json.dumps(comparison.as_json(), indent=1)
        write_text(args.output / "comparison.json", as_json + "\n")
        print(f"\n{comparison.markdown()}\n{args.output / 'comparison.md'}")
        print(args.output / "comparison.json")
    if failed:
        sys.exit(f"Failed or not run: {', '.join(run.name for run in failed)}")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", required=True, metavar="YAML", help="the models")
    parser.add_argument("--start", metavar="YAML", help="a model to train first, of every seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="%(default)s")
    parser.add_argument(
        "--smoothing",
        type=float,
        nargs="+",
        default=[],
        metavar="A",
        help="evaluate every model with TEST.SMOOTHING A too",
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (%(default)s)")
    parser.add_argument("--num-gpus", type=int, default=1, help="of each run (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, help="KEY VALUE overrides for every training"
    )
    args = parser.parse_args(argv)
    args.output = args.output.resolve()
    return args


def runs_of_seed(args: argparse.Namespace, configs: dict[str, str], seed: int) -> dict[str, Run]:
    """Model -> its run, each after those that it needs."""
    common = (*args.opts, "SEED", str(seed))
    flags = ("--num-gpus", str(args.num_gpus))
    runs: dict[str, Run] = {}
    weights: tuple[str, ...] = ()
    needs: tuple[Run, ...] = ()
    if args.start:
        folder = args.output / "start" / f"seed{seed}"
        start = Run(f"start, seed {seed}", folder, TRAIN, args.start, common, flags)
        runs["start"] = start
        weights, needs = ("MODEL.WEIGHTS", str(folder / "model_final.pth")), (start,)
    for name, config in configs.items():
        folder = args.output / name / f"seed{seed}"
        title = f"{name}, seed {seed}"
        training = Run(title, folder, TRAIN, config, (*common, *weights), flags, needs=needs)
        runs[name] = training
        trained = ("MODEL.WEIGHTS", str(folder / "model_final.pth"))
        for a in args.smoothing:
            runs[_smoothed(name, a)] = Run(
                f"{_smoothed(name, a)}, seed {seed}",
                folder / f"smoothing_{a:g}",
                TRAIN,
                config,
                (*common, *trained, "TEST.SMOOTHING", str(a)),
                flags,
                eval_only=True,
                needs=(training,),
            )
    return runs


def _smoothed(name: str, a: float) -> str:
    return f"{name}, smoothing {a:g}"


def read_all(
    runs: dict[tuple[str, int], Run], models: list[str]
) -> dict[tuple[str, int], RunResult]:
    """The results of the models' runs that have finished."""
    return {
        (model, seed): read_results(run.folder)
        for (model, seed), run in runs.items()
        if model in models and run.seconds() is not None
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's own; its exit code."""
    args = parse_args(argv)
    try:
        with stops_raised("The same command goes on from here."):
            run(args)
    except OSError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
