"""Temporal modules, what makes logits of their results, and CFFM++'s branch."""

from .cffm import CFFM, CFFMRecall
from .head import TemporalHead, current_name
from .module import TEMPORAL_REGISTRY, FrameMap, TemporalModule, build_temporal_module
from .output import OUTPUTS
from .prototype_branch import PrototypeBranch

__all__ = [
    "CFFM",
    "CFFMRecall",
    "OUTPUTS",
    "TEMPORAL_REGISTRY",
    "FrameMap",
    "PrototypeBranch",
    "TemporalHead",
    "TemporalModule",
    "build_temporal_module",
    "current_name",
]
