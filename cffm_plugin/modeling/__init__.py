"""What detectron2's registries hold: backbones, heads and the meta-architecture."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .backbone import MiT, TimmBackbone
from .encoded import EncodedFrames
from .heads import (
    HeadEmbedding,
    SegFormerHead,
    check_agreement,
    embedding_of,
    training_side,
)
from .huggingface import build_hf_segmenter
from .label_maps import CoarseLogits
from .normalization import resolve_normalization
from .temporal import (
    TEMPORAL_REGISTRY,
    FrameMap,
    PrototypeBranch,
    TemporalHead,
    TemporalModule,
)
from .video_segmentor import CFFMSegmentor

__all__ = [
    "TEMPORAL_REGISTRY",
    "CFFMSegmentor",
    "CoarseLogits",
    "EncodedFrames",
    "FrameMap",
    "HeadEmbedding",
    "MiT",
    "PrototypeBranch",
    "SegFormerHead",
    "TemporalHead",
    "TemporalModule",
    "TimmBackbone",
    "build_hf_segmenter",
    "check_agreement",
    "embedding_of",
    "resolve_normalization",
    "training_side",
]
