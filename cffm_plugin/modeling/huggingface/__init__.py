"""Segmentors of Hugging Face's transformers, as the image segmentor of a video segmentor."""

from ...families.huggingface_files import (
    PixelStatistics,
    class_names,
    pixel_statistics,
    read_model_config,
    read_pixel_statistics,
)
from .backbone import HFBackbone
from .dense_head import HFDenseHead
from .families import FAMILIES
from .mask_head import HFMaskHead
from .segmenter import build_hf_segmenter

__all__ = [
    "FAMILIES",
    "HFBackbone",
    "HFDenseHead",
    "HFMaskHead",
    "PixelStatistics",
    "build_hf_segmenter",
    "class_names",
    "pixel_statistics",
    "read_model_config",
    "read_pixel_statistics",
]
