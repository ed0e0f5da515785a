"""CFFM and the video segmentor in pure torch: no detectron2, no config, no datasets."""

from .assembling import CoarseToFineAssembling, WindowPooling
from .attention import attend
from .cffm import CFFM, CFFMBlock
from .clip_segmentor import ClipSegmentor
from .frame_tokens import FrameTokens
from .head_embedding import HeadEmbedding
from .mask_prediction import MaskPrediction
from .memory import CellMemory, CFFMMemory, MemoryState
from .mining import CrossFrameMining
from .mit import MIT_VARIANTS, MiT
from .mrcfa import MRCFA
from .prototype_branch import PrototypeBranch
from .prototypes import PrototypeBlock, prototype_frames
from .recall import CFFMRecall, FrameRecall, RecallTokens
from .segformer import SegFormerHead
from .segmentor_output import SegmentorOutput
from .streaming import StreamingSegmentor
from .temporal_head import TemporalHead
from .temporal_module import (
    FrameFeatures,
    FrameMap,
    RecurrentModule,
    Refined,
    TemporalModule,
    Tokens,
    WindowedModule,
)
from .tv3s import TV3S, TV3SClip, TV3SState, TV3SStream

__all__ = [
    "CFFM",
    "CFFMBlock",
    "CFFMMemory",
    "CFFMRecall",
    "CellMemory",
    "ClipSegmentor",
    "CoarseToFineAssembling",
    "CrossFrameMining",
    "FrameFeatures",
    "FrameMap",
    "FrameRecall",
    "FrameTokens",
    "HeadEmbedding",
    "MIT_VARIANTS",
    "MRCFA",
    "MaskPrediction",
    "MemoryState",
    "MiT",
    "PrototypeBlock",
    "PrototypeBranch",
    "RecallTokens",
    "RecurrentModule",
    "Refined",
    "SegFormerHead",
    "SegmentorOutput",
    "StreamingSegmentor",
    "TV3S",
    "TV3SClip",
    "TV3SState",
    "TV3SStream",
    "TemporalHead",
    "TemporalModule",
    "Tokens",
    "WindowPooling",
    "WindowedModule",
    "attend",
    "prototype_frames",
]
