"""Runs of several models and seeds as one table: means, spreads, and differences seed by seed."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from .results import METRICS, RunResult


@dataclass(frozen=True)
class Comparison:
    """Results of models over seeds.

    Attributes:
        models: their names, the one that others are compared with first.
        seeds: the seeds.
        results: (model, seed) -> its results. A pair may be missing, then it counts nowhere.
    """

    models: Sequence[str]
    seeds: Sequence[int]
    results: dict[tuple[str, int], RunResult]

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(name for r in self.results.values() for name in r.scores))

    def values(self, model: str, dataset: str, metric: str) -> dict[int, float]:
        """Seed -> percent."""
        return {
            seed: self.results[model, seed].scores[dataset][metric]
            for seed in self.seeds
            if (model, seed) in self.results and dataset in self.results[model, seed].scores
        }

    def differences(self, model: str, dataset: str, metric: str) -> dict[int, float]:
        """Seed -> how far a model is above the first one of the same seed."""
        first = self.values(self.models[0], dataset, metric)
        return {
            seed: value - first[seed]
            for seed, value in self.values(model, dataset, metric).items()
            if seed in first
        }

    def markdown(self) -> str:
        """All tables, one after the other."""
        parts = []
        for dataset in self.datasets:
            rows = [
                [model, *(_mean(self.values(model, dataset, m)) for m in METRICS)]
                for model in self.models
            ]
            parts.append(f"{dataset}, {self._seeds_text()}:\n\n{_table([dataset, *METRICS], rows)}")
            rows = [
                [model, *(_mean(self.differences(model, dataset, m), True) for m in METRICS)]
                for model in self.models[1:]
            ]
            header = [f"minus {self.models[0]}", *METRICS]
            if rows:
                parts.append(
                    f"{dataset}, differences of the same seed, mean ± standard deviation (the "
                    f"worst seed's):\n\n{_table(header, rows)}"
                )
        header = ["model", "parameters", "steps", "seconds per step"]
        rows = [row for model in self.models if (row := self._costs(model)) is not None]
        parts.append(_table(header, rows))
        return "\n\n".join(parts) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Every number: per run, and means and spreads."""
        runs = [
            {"model": model, "seed": seed, **asdict(result)}
            for (model, seed), result in self.results.items()
        ]
        summary = {
            dataset: {
                model: {
                    metric: {
                        "mean": _statistics(self.values(model, dataset, metric)),
                        "difference": _statistics(self.differences(model, dataset, metric)),
                    }
                    for metric in METRICS
                }
                for model in self.models
            }
            for dataset in self.datasets
        }
        models, seeds = list(self.models), list(self.seeds)
        return {"models": models, "seeds": seeds, "runs": runs, "summary": summary}

    def _seeds_text(self) -> str:
        if len(self.seeds) == 1:
            return f"percent, seed {self.seeds[0]}"
        seeds = ", ".join(map(str, self.seeds))
        return f"percent, mean ± standard deviation over seeds {seeds}"

    def _costs(self, model: str) -> list[str] | None:
        """Parameters, steps and time, of models that were trained for this."""
        trained = [self.results[model, s] for s in self.seeds if (model, s) in self.results]
        if not trained or trained[0].parameters is None:
            return None
        times = [r.seconds_per_step for r in trained if r.seconds_per_step is not None]
        seconds = f"{statistics.mean(times):.3f}" if times else "-"
        return [model, f"{trained[0].parameters / 1e6:.2f} M", str(trained[0].steps), seconds]


def _mean(values: dict[int, float], signed: bool = False) -> str:
    """ "61.32 ± 0.27", and of differences "+0.65 ± 0.12 (+0.51)"."""
    if not values or any(math.isnan(v) for v in values.values()):
        return "-"
    sign = "+" if signed else ""
    text = f"{statistics.mean(values.values()):{sign}.2f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values.values()):.2f}"
        if signed:
            text += f" ({min(values.values()):+.2f})"
    return text


def _statistics(values: dict[int, float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None of one seed), the least, and each seed's; of undefined
    scores the last alone."""
    if not values or any(math.isnan(v) for v in values.values()):
        return {"seeds": values}
    return {
        "mean": statistics.mean(values.values()),
        "std": statistics.stdev(values.values()) if len(values) > 1 else None,
        "min": min(values.values()),
        "seeds": values,
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)
