"""CFFM in pure torch: needs no detectron2 and knows nothing of images, backbones or datasets."""

from .assembling import CoarseToFineAssembling, WindowPooling
from .attention import attend
from .cffm import CFFM, CFFMBlock
from .mining import CrossFrameMining
from .prototypes import PrototypeBlock, prototype_frames
from .recall import CFFMRecall, FrameRecall, RecallTokens
from .tokens import FrameTokens

__all__ = [
    "CFFM",
    "CFFMBlock",
    "CFFMRecall",
    "CoarseToFineAssembling",
    "CrossFrameMining",
    "FrameRecall",
    "FrameTokens",
    "PrototypeBlock",
    "RecallTokens",
    "WindowPooling",
    "attend",
    "prototype_frames",
]
