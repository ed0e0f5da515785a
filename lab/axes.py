"""How time and memory of a stream grow with what is asked of it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from cffm_plugin.benchmark.modes import Benchmark
from cffm_plugin.benchmark.timing import measure

AXES = {
    "lines": (240, 360, 480, 720, 1080),
    "classes": (2, 10, 50, 124, 500),
    "streams": (1, 2, 4, 8, 16),
    "references": (1, 2, 3, 5, 8),
}
_EXPONENT_OF = {"lines": "pixels"}  # what the exponent is of, where it is not the axis itself
_POOLS, _KERNELS = (3, 2, 1), (3, 5, 7)  # of the nearest references; farther ones are as the last


def measure_scaling(
    cfg: CfgNode, axis: str, values: Sequence[int], size: tuple[int, int], repeats: int
) -> list[dict[str, float]]:
    """Time and memory of a stream's step, all else as in ``cfg`` and ``size``.

    Args:
        cfg: of a model; its references become the three frames before the target.
        axis: "lines" of a frame, whose width grows with them; "classes"; "streams" at a time; or
            "references".
        values: of the axis.
        size: height and width of frames.
        repeats: of every value.

    Returns:
        per value ``value``, ``size`` (pixels for "lines", else the value), ``seconds`` (median) and
        ``peak_gb``.
    """
    points = []
    for value in values:
        cfg_of_value, streams, frame = cfg.clone(), 1, size
        _set_references(cfg_of_value, value if axis == "references" else 3)
        if axis == "lines":
            frame = (value, round(value * size[1] / size[0] / 32) * 32)
        elif axis == "classes":
            cfg_of_value.MODEL.SEM_SEG_HEAD.NUM_CLASSES = value
        elif axis == "streams":
            streams = value
        benchmark = Benchmark(cfg_of_value, frame, streams=streams)
        steps = benchmark.steps(["stream"])
        summary = measure(steps, repeats, benchmark.device, warmup=1)["stream"].summary()
        measured = frame[0] * frame[1] if axis == "lines" else value
        seconds, peak = summary["median_s"], summary["peak_gb"]
        points.append({"value": value, "size": measured, "seconds": seconds, "peak_gb": peak})
    return points


def exponent(points: Sequence[dict[str, float]]) -> float:
    """The slope of log time over log size, by least squares: 1 where time is proportional."""
    x = [math.log(point["size"]) for point in points]
    y = [math.log(point["seconds"]) for point in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def plot(points_of: dict[str, list[dict[str, float]]], file: Path) -> None:
    """A panel of seconds and memory for every axis, both scales logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(points_of), 3.4), layout="constrained")
    panels = figure.subplots(1, len(points_of), squeeze=False)[0]
    for panel, (axis, points) in zip(panels, points_of.items()):
        values = [point["value"] for point in points]
        name = _EXPONENT_OF.get(axis, axis)
        panel.loglog(values, [p["seconds"] for p in points], "o-", color="#0072b2")
        panel.set_title(f"time ~ {name}^{exponent(points):.2f}")
        panel.set_xlabel(axis)
        panel.set_ylabel("seconds (circles)")
        seconds = [point["seconds"] for point in points]
        panel.set_ylim(min(seconds) / 1.5, max(seconds) * 1.5)
        ticks = [min(seconds), max(seconds)]
        panel.set_yticks(ticks, [f"{value:.2g}" for value in ticks])
        memory = panel.twinx()
        memory.semilogx(values, [p["peak_gb"] for p in points], "s--", color="#d55e00")
        memory.set_ylabel("peak GB (squares)")
        memory.set_ylim(0, 1.2 * max(point["peak_gb"] for point in points))
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
    figure.savefig(file)


def _set_references(cfg: CfgNode, count: int) -> None:
    """The ``count`` frames before the target, the farther the coarser."""
    places: list[Any] = [min(age, len(_POOLS) - 1) for age in reversed(range(count))]
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = tuple(range(-count, 0))
    cfg.MODEL.CFFM.REFERENCE_POOLS = tuple(_POOLS[place] for place in places)
    cfg.MODEL.CFFM.REFERENCE_KERNELS = tuple(_KERNELS[place] for place in places)
