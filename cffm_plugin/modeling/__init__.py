"""What detectron2's registries hold: backbones, heads and the meta-architecture."""

from .backbone import MiT, TimmBackbone
from .label_maps import CoarseLogits
from .normalization import resolve_normalization
from .pixel_embedding import PixelEmbedding, as_pixel_embedding
from .segformer_head import SegFormerHead
from .temporal_head import PrototypeBranch, TemporalHead
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
