"""How what is reported was made: configs, weights, versions and times."""

import importlib.metadata
import math
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config_files import load_yaml_with_base
from ..evaluation import DatasetScores
from ..files import sha256_of
from ..results import MIOU, RESULTS_FILE, Results
from .sources import ReportedModel

_LIBRARIES = ("torch", "detectron2", "numpy", "pillow", "opencv-python-headless", "timm")
_NOT_COMPARED = ("OUTPUT_DIR", "VERSION")


@dataclass(frozen=True)
class Origin:
    """Of one model.

    Attributes:
        facts: what is known of it, name and value.
        config: its config.yaml as it stands there; None where there is none.
        keys: the config flat, ``MODEL.WEIGHTS`` and the like.
        warning: what does not fit together; empty where all does.
    """

    facts: list[tuple[str, str]]
    config: str | None = None
    keys: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


def origin_of(model: ReportedModel, scores: DatasetScores) -> Origin:
    """What the folders of a model tell.

    Raises:
        OSError, ValueError: its config.yaml can't be read, or is not plain YAML.
    """
    facts = [("predictions", str(model.predictions))]
    results = model.predictions.parent / RESULTS_FILE
    warning = ""
    if model.run is not None:
        facts.append(("output folder", str(model.run)))
        if results.is_file():
            facts.append(("evaluated", _moment(results.stat().st_mtime)))
            warning = _contradiction(results, scores)
    config, keys = None, dict[str, Any]()
    if model.run is not None and (model.run / "config.yaml").is_file():
        config = (model.run / "config.yaml").read_text(encoding="utf-8", errors="replace")
        keys = flat(load_yaml_with_base(str(model.run / "config.yaml")))
        facts += [(key, str(keys[key])) for key in ("MODEL.WEIGHTS", "SEED") if key in keys]
    final = None if model.run is None else model.run / "model_final.pth"
    if final is not None and final.is_file():
        facts.append(("trained until", _moment(final.stat().st_mtime)))
        facts.append((final.name, f"SHA-256 {sha256_of(final)}"))
    return Origin(facts, config, keys, warning)


def versions() -> list[tuple[str, str]]:
    """Of what makes the report, which may not be what made the predictions."""
    found = [("cffm_plugin", sys.modules["cffm_plugin"].__version__)]
    found.append(("Python", platform.python_version()))
    for name in _LIBRARIES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            module = sys.modules.get(name)
            found.append((name, getattr(module, "__version__", "not installed under this name")))
    return [*found, ("system", platform.platform())]


def differing_keys(origins: Sequence[Origin]) -> list[tuple[str, list[str]]]:
    """Keys that the models' configs have different values of, with the value of each model."""
    known = [origin for origin in origins if origin.config is not None]
    if len(known) < 2:
        return []
    keys = sorted({key for origin in known for key in origin.keys})
    rows = []
    for key in keys:
        values = [str(origin.keys.get(key, "–")) for origin in origins]
        if key not in _NOT_COMPARED and len({str(o.keys.get(key, "–")) for o in known}) > 1:
            rows.append((key, values))
    return rows


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"A": {"B": 1}}`` -> ``{"A.B": 1}``."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _contradiction(results: Path, scores: DatasetScores) -> str:
    """Where the results beside the predictions are of other predictions."""
    try:
        found = Results.read(results)
    except ValueError as error:
        return str(error)
    before, now = found.percent[MIOU.name], scores.results().percent[MIOU.name]
    same = abs(before - now) < 1e-6 or (math.isnan(before) and math.isnan(now))
    if found.dataset != scores.dataset or same:
        return ""
    return (
        f"{results} says {MIOU.name} {before:.2f}, and the predictions beside it score {now:.2f}: "
        "one of them is of another evaluation, or predictions were left out."
    )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))
