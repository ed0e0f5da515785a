"""What a finished run has to say: scores, parameters, steps, time."""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import torch

from ..results import (
    FWIOU,
    MIOU,
    MVC8,
    MVC16,
    RESULTS_FILE,
    TA8,
    TA16,
    Results,
    mvc_pooled,
    mvc_vspw,
)
from ..training_metrics import METRICS_FILE, read_metrics

# Columns of tables.
METRICS = tuple(
    m.name for m in (MIOU, FWIOU, MVC8, MVC16, mvc_vspw(8), mvc_pooled((8, 16)), TA8, TA16)
)


@dataclass(frozen=True)
class RunResult:
    """Of one run.

    Attributes:
        scores: dataset -> metric -> percent, NaN where undefined. ``TA8`` and ``TA16`` are temporal
            accuracies: of the pixels whose truth is one class over so many frames, the share whose
            prediction is that class in all of them.
        parameters: of the model, None of an evaluation.
        steps: of training.
        seconds_per_step: the median; None of an evaluation, and of a training too short to say.
    """

    scores: dict[str, dict[str, float]]
    parameters: int | None = None
    steps: int | None = None
    seconds_per_step: float | None = None


def read_results(folder: Path) -> RunResult:
    """The results in a run's folder.

    Raises:
        FileNotFoundError: it has none; evaluation did not run, or no frame has labels.
        ValueError: a file is damaged.
    """
    files = sorted((folder / "inference").rglob(RESULTS_FILE))
    if not files:
        raise FileNotFoundError(
            f"{folder / 'inference'}: there is no {RESULTS_FILE}. Does DATASETS.TEST name a "
            "dataset with labels?"
        )
    scores = {}
    for file in files:
        found = Results.read(file)
        scores[found.dataset] = {name: found.percent.get(name, math.nan) for name in METRICS}
    weights = folder / "model_final.pth"
    if not weights.exists():
        return RunResult(scores)
    rows, _ = read_metrics(folder / METRICS_FILE)
    if not rows:
        raise ValueError(f"{folder / METRICS_FILE} is damaged: it holds no step of the training")
    times = [row["time"] for row in rows if "time" in row]
    seconds_per_step = statistics.median(times) if times else None
    steps = max(row["iteration"] for row in rows)
    return RunResult(scores, _parameters(weights), steps, seconds_per_step)


def _parameters(weights: Path) -> int:
    """Numbers that a checkpoint's model has learned; running statistics are none."""
    model = torch.load(weights, map_location="cpu", weights_only=True)["model"]
    statistics_of_norms = ("running_mean", "running_var", "num_batches_tracked")
    return sum(w.numel() for name, w in model.items() if not name.endswith(statistics_of_norms))
