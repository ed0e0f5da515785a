"""Temporal modules as entries of a registry."""

from .cffm import CFFM, CFFMMemory, CFFMRecall
from .module import TEMPORAL_REGISTRY, build_temporal_head, build_temporal_module

__all__ = [
    "CFFM",
    "CFFMMemory",
    "CFFMRecall",
    "TEMPORAL_REGISTRY",
    "build_temporal_head",
    "build_temporal_module",
]
