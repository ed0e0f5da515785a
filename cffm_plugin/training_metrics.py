"""What a training has written of its steps: metrics.json, a JSON object per line."""

import json
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.json"


def read_metrics(file: Path, last: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """The rows of a metrics.json: name -> value, with "iteration", a whole number.

    Args:
        file: of detectron2's ``JSONWriter``.
        last: read this many lines at the end alone, by default all.

    Returns:
        the rows in their order, and how many lines are no such object, as the last one of a killed
        training may be, or of one that is writing it.

    Raises:
        OSError: the file can't be read.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    rows, damaged = [], 0
    for line in lines if last is None else lines[-last:]:
        try:
            row = json.loads(line)
            rows.append({**row, "iteration": int(row["iteration"])})
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            damaged += bool(line.strip())
    return rows, damaged
