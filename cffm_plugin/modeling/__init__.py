"""What detectron2's registries hold: backbones, heads and the meta-architecture."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from ..core.agreement import check_agreement, ensure_agreement
from ..core.encoded import EncodedFrames
from ..core.head_embedding import HeadEmbedding
from ..core.label_maps import CoarseLogits, CoarseOutput, all_finite
from ..core.levels import level_shapes
from ..core.mask_prediction import CoarseMasks, MaskPrediction, kind_of
from ..core.prediction import LogitsPrediction, Prediction
from ..core.prototype_branch import PrototypeBranch
from ..core.temporal_head import TemporalHead
from ..core.temporal_module import (
    FrameFeatures,
    FrameMap,
    RecurrentModule,
    Refined,
    TemporalModule,
    Tokens,
    WindowedModule,
)
from .backbone import MiT, TimmBackbone, TimmPyramid
from .heads import SegFormerHead, embedding_of
from .huggingface import build_hf_segmenter
from .normalization import resolve_normalization
from .temporal import TEMPORAL_REGISTRY
from .video_segmentor import CFFMSegmentor
from .wrapping import build_segmentor, how_to_wrap

__all__ = [
    "TEMPORAL_REGISTRY",
    "CFFMSegmentor",
    "CoarseLogits",
    "CoarseMasks",
    "CoarseOutput",
    "EncodedFrames",
    "FrameFeatures",
    "FrameMap",
    "HeadEmbedding",
    "LogitsPrediction",
    "MaskPrediction",
    "Prediction",
    "kind_of",
    "MiT",
    "PrototypeBranch",
    "RecurrentModule",
    "Refined",
    "SegFormerHead",
    "TemporalHead",
    "TemporalModule",
    "TimmBackbone",
    "TimmPyramid",
    "Tokens",
    "WindowedModule",
    "all_finite",
    "build_hf_segmenter",
    "build_segmentor",
    "check_agreement",
    "ensure_agreement",
    "embedding_of",
    "how_to_wrap",
    "level_shapes",
    "resolve_normalization",
]
