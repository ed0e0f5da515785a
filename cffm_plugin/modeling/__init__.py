"""What detectron2's registries hold: backbones, heads and the meta-architecture."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .backbone import MiT, TimmBackbone, TimmPyramid
from .encoded import EncodedFrames
from .heads import (
    HeadEmbedding,
    SegFormerHead,
    check_agreement,
    embedding_of,
    ensure_agreement,
    training_side,
)
from .huggingface import build_hf_segmenter
from .label_maps import CoarseLogits, all_finite
from .mask_prediction import CoarseMasks, CoarseOutput, MaskPrediction, normalise_scores
from .normalization import resolve_normalization
from .temporal import (
    TEMPORAL_REGISTRY,
    FrameMap,
    PrototypeBranch,
    TemporalHead,
    TemporalModule,
)
from .video_segmentor import CFFMSegmentor
from .wrapping import build_segmentor, how_to_wrap

__all__ = [
    "TEMPORAL_REGISTRY",
    "CFFMSegmentor",
    "CoarseLogits",
    "CoarseMasks",
    "CoarseOutput",
    "EncodedFrames",
    "FrameMap",
    "HeadEmbedding",
    "MaskPrediction",
    "MiT",
    "PrototypeBranch",
    "SegFormerHead",
    "TemporalHead",
    "TemporalModule",
    "TimmBackbone",
    "TimmPyramid",
    "all_finite",
    "build_hf_segmenter",
    "build_segmentor",
    "check_agreement",
    "ensure_agreement",
    "embedding_of",
    "how_to_wrap",
    "normalise_scores",
    "resolve_normalization",
    "training_side",
]
