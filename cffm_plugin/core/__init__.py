"""CFFM in pure torch: needs no detectron2 and knows nothing of images, backbones or datasets."""

from .assembling import CoarseToFineAssembling, WindowPooling
from .cffm import CFFM, CFFMBlock, FrameTokens
from .mining import CrossFrameMining

__all__ = [
    "CFFM",
    "CFFMBlock",
    "CoarseToFineAssembling",
    "CrossFrameMining",
    "FrameTokens",
    "WindowPooling",
]
