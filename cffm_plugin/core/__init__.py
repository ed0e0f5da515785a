"""CFFM in pure torch: needs no detectron2 and knows nothing of images, backbones or datasets."""

from .assembling import CoarseToFineAssembling, WindowPooling
from .cffm import CFFM, CFFMBlock, FrameTokens
from .mining import CrossFrameMining
from .prototypes import PrototypeBlock, prototype_frames

__all__ = [
    "CFFM",
    "CFFMBlock",
    "CoarseToFineAssembling",
    "CrossFrameMining",
    "FrameTokens",
    "PrototypeBlock",
    "WindowPooling",
    "prototype_frames",
]
