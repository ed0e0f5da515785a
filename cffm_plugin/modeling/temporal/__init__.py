"""Temporal modules as entries of a registry."""

from .cffm import CFFM, CFFMMemory, CFFMRecall
from .module import TEMPORAL_REGISTRY, build_temporal_head, build_temporal_module
from .mrcfa import MRCFA
from .tv3s import TV3S

__all__ = [
    "CFFM",
    "CFFMMemory",
    "CFFMRecall",
    "MRCFA",
    "TEMPORAL_REGISTRY",
    "TV3S",
    "build_temporal_head",
    "build_temporal_module",
]
