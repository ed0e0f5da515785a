"""Temporal modules as entries of a registry."""

from .cffm import CFFM, CFFMRecall
from .module import TEMPORAL_REGISTRY, build_temporal_head, build_temporal_module
from .mrcfa import MRCFA

__all__ = [
    "CFFM",
    "CFFMRecall",
    "MRCFA",
    "TEMPORAL_REGISTRY",
    "build_temporal_head",
    "build_temporal_module",
]
