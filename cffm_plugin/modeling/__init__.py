"""What detectron2's registries hold: backbones, heads and the meta-architecture."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .backbone import MiT, TimmBackbone
from .heads.embedding import PixelEmbedding, as_pixel_embedding
from .heads.segformer import SegFormerHead
from .label_maps import CoarseLogits
from .normalization import resolve_normalization
from .temporal.head import PrototypeBranch, TemporalHead
from .video_segmentor import CFFMSegmentor, EncodedFrames

__all__ = [
    "CFFMSegmentor",
    "CoarseLogits",
    "EncodedFrames",
    "MiT",
    "PixelEmbedding",
    "PrototypeBranch",
    "SegFormerHead",
    "TemporalHead",
    "TimmBackbone",
    "as_pixel_embedding",
    "resolve_normalization",
]
