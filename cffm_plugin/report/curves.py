"""Training curves: what a training has written to its metrics.json, and as lines of a picture."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..results import FWIOU, MIOU, MVC
from ..training_metrics import read_metrics

Curve = list[tuple[int, float]]  # (iteration, value), iterations ascending

WIDTH, HEIGHT = 400, 180  # of a picture, without its margins
_MOST_POINTS = 400  # of a line: as many as there are pixels
_SHOWN = ("total_loss", "lr", "grad_norm")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chart:
    """One quantity over the iterations, a line for each model that has it.

    Attributes:
        title: the quantity, as in metrics.json.
        lines: model -> SVG paths in a picture of ``WIDTH`` by ``HEIGHT``.
        ends: model -> its last value.
        low, high: the range of values.
        last: the largest iteration.
    """

    title: str
    lines: dict[int, str]
    ends: dict[int, float]
    low: float
    high: float
    last: int


def read_curves(file: Path) -> dict[str, Curve]:
    """Quantity -> its curve, of a metrics.json.

    Where a resumed training wrote of an iteration again, the later value counts. Damaged lines are
    counted in a warning.

    Raises:
        OSError: the file can't be read.
    """
    found: dict[str, dict[int, float]] = {}
    rows, damaged = read_metrics(file)
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (int, float)) and is_shown(name):
                found.setdefault(name, {})[row["iteration"]] = float(value)
    if damaged:
        logger.warning(
            '%s: %d line(s) are no JSON object with an "iteration"; the curves are without them.',
            *(file, damaged),
        )
    return {name: sorted(points.items()) for name, points in found.items()}


def is_shown(name: str) -> bool:
    """Whether a quantity of metrics.json is one to look at: losses, rates and scores."""
    quantity = name.rsplit("/", 1)[-1]
    is_score = quantity.startswith((MIOU.name, FWIOU.name, MVC))
    return name.startswith("loss") or quantity in _SHOWN or is_score


def charts(curves: Sequence[Mapping[str, Curve]]) -> list[Chart]:
    """A chart for each quantity that some model has two values of; ``curves``: of each model."""
    names = sorted({name for by_name in curves for name in by_name}, key=_place)
    drawn = [_chart(name, [by_name.get(name, []) for by_name in curves]) for name in names]
    return [chart for chart in drawn if chart is not None]


def _place(name: str) -> tuple[bool, bool, str]:
    return name != "total_loss", not name.startswith("loss"), name


def _chart(title: str, curves: Sequence[Curve]) -> Chart | None:
    shown = {
        model: curve
        for model, curve in enumerate(curves)
        if sum(math.isfinite(value) for _, value in curve) > 1
    }
    values = [value for curve in shown.values() for _, value in curve if math.isfinite(value)]
    if not values:
        return None
    low, high = min(values), max(values)
    last = max(iteration for curve in shown.values() for iteration, _ in curve)
    lines = {model: _path(curve, low, high, last) for model, curve in shown.items()}
    ends = {model: curve[-1][1] for model, curve in shown.items()}
    return Chart(title, lines, ends, low, high, last)


def _path(curve: Curve, low: float, high: float, last: int) -> str:
    """A line through the points; a value that is not finite is a gap in it."""
    step = -(-len(curve) // _MOST_POINTS)
    points = [*curve[:-1:step], curve[-1]]
    commands, pen = [], "M"
    for iteration, value in points:
        if not math.isfinite(value):
            pen = "M"
            continue
        x = WIDTH * iteration / max(last, 1)
        y = HEIGHT * (1 - (value - low) / ((high - low) or 1))
        commands.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(commands)
