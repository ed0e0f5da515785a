"""What ``tools/benchmark.py`` measures, and how."""

from .modes import DATA_MODES, MODEL_MODES, MODES, Benchmark, config_to_measure
from .peer import build_peer
from .scaling import AXES, exponent, measure_scaling, plot
from .suite import Entry, check_device, gpu_entries, run_suite, table
from .tables import ratios_of, tables_of
from .timing import Measurement, measure

__all__ = [
    "AXES",
    "DATA_MODES",
    "MODEL_MODES",
    "MODES",
    "Benchmark",
    "Entry",
    "Measurement",
    "build_peer",
    "check_device",
    "config_to_measure",
    "exponent",
    "gpu_entries",
    "measure",
    "measure_scaling",
    "plot",
    "ratios_of",
    "run_suite",
    "table",
    "tables_of",
]
