"""Temporal modules as entries of a registry."""

from .cffm import CFFM, CFFMRecall
from .module import TEMPORAL_REGISTRY, build_temporal_head, build_temporal_module

__all__ = [
    "CFFM",
    "CFFMRecall",
    "TEMPORAL_REGISTRY",
    "build_temporal_head",
    "build_temporal_module",
]
