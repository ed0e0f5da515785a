"""What ``tools/benchmark.py`` measures, and how."""

from .modes import DATA_MODES, MODEL_MODES, MODES, Benchmark
from .peer import build_peer
from .tables import ratios_of, tables_of
from .timing import Measurement, measure

__all__ = [
    "DATA_MODES",
    "MODEL_MODES",
    "MODES",
    "Benchmark",
    "Measurement",
    "build_peer",
    "measure",
    "ratios_of",
    "tables_of",
]
