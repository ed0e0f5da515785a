"""What ``cffm benchmark`` measures, and how."""

from .modes import Benchmark, config_to_measure, random_clip
from .peer import build_peer
from .tables import ratios_of, tables_of
from .timing import machine, measure

__all__ = [
    "Benchmark",
    "build_peer",
    "config_to_measure",
    "machine",
    "measure",
    "random_clip",
    "ratios_of",
    "tables_of",
]
