"""What `cffm compare` does, with the arguments of ``cffm_plugin.cli.compare``."""

import argparse
import os
import sys
from pathlib import Path

from ...experiments import TRAIN, Comparison, Run, RunResult, read_results, run_all
from ...files import write_json, write_text


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
    failed = run_all(list(runs.values()), jobs=args.jobs, environment=environment)
    results = read_all(runs, models)
    if results:
        comparison = Comparison(models, args.seeds, results)
        write_text(args.output / "comparison.md", comparison.markdown())
        write_json(args.output / "comparison.json", comparison.as_json())
        print(f"\n{comparison.markdown()}\n{args.output / 'comparison.md'}")
        print(args.output / "comparison.json")
    if failed:
        sys.exit(f"Failed or not run: {', '.join(run.name for run in failed)}")


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
