"""What ``cffm benchmark`` measures, and how."""

from .modes import DATA_MODES, MODEL_MODES, MODES, Benchmark, config_to_measure
from .peer import build_peer
from .suite import Entry, check_device, gpu_entries, run_suite, table
from .tables import ratios_of, tables_of
from .timing import Measurement, measure

__all__ = [
    "DATA_MODES",
    "MODEL_MODES",
    "MODES",
    "Benchmark",
    "Entry",
    "Measurement",
    "build_peer",
    "check_device",
    "config_to_measure",
    "gpu_entries",
    "measure",
    "ratios_of",
    "run_suite",
    "table",
    "tables_of",
]
