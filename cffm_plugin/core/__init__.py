"""CFFM in pure torch: needs no detectron2 and knows nothing of images, backbones or datasets."""

from .assembling import CoarseToFineAssembling, WindowPooling
from .cffm import CFFM, CFFMBlock
from .mining import CrossFrameMining
from .prototypes import PrototypeBlock, prototype_frames
from .tokens import FrameTokens

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
