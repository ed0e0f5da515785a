"""Strips of flicker over time, as SVG."""

import math
from collections.abc import Sequence

ROW = 14  # height of a model's row in a strip


def common_top(values: Sequence[Sequence[float]]) -> float:
    """What the height of all strips stands for, in percent: all but the top 2% fit in.

    Args:
        values: of every video and model.
    """
    defined = sorted(v for of in values for v in of if not math.isnan(v))
    if not defined:
        return 1.0
    return max(defined[int(0.98 * (len(defined) - 1))], defined[-1] / 4, 0.01)


def bars(values: Sequence[float], top: float) -> str:
    """An SVG path of a bar for each value, one unit wide and up to ``ROW`` high, its foot at 0.

    Args:
        values: percent; NaN has no bar.
        top: what is as high as the row; more is cut.
    """
    commands = []
    for x, value in enumerate(values):
        if not math.isnan(value) and value > 0:
            y = ROW * (1 - min(1.0, value / top))
            commands.append(f"M{x} {ROW}V{y:.1f}h1V{ROW}z")
    return "".join(commands)
