from .mit import MIT_VARIANTS, MiT, build_mit_backbone
from .swin import SWIN_VARIANTS, Swin, build_swin_backbone
from .timm import TimmBackbone, build_timm_backbone, pixel_statistics
from .timm_pyramid import TimmPyramid

__all__ = [
    "MIT_VARIANTS",
    "MiT",
    "SWIN_VARIANTS",
    "Swin",
    "TimmBackbone",
    "TimmPyramid",
    "build_mit_backbone",
    "build_swin_backbone",
    "build_timm_backbone",
    "pixel_statistics",
]
