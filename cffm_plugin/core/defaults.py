"""What holds where nobody says otherwise: for Python's arguments and for configs alike.

The keys of ``add_cffm_config`` have these values, and so have the arguments of ``TemporalHead``,
``ClipSegmentor``, ``create_model`` and ``wrap``.
"""

from typing import Any

TEMPORAL = "CFFMRecall"  # MODEL.TEMPORAL.NAME, a name in TEMPORAL_MODULES
OUTPUT = "refine"
STRIDE = 8  # of the embedding that the temporal module works on
DROPOUT = 0.1  # before the classifier of OUTPUT "classifier" or "refined", and of CFFM++'s branch
FRAME_OFFSETS = (-9, -6, -3)
# With these the image segmentor trains as it would alone; under Adam the temporal module, which has
# the second loss alone, learns as fast at any weight.
IMAGE_LOSS_WEIGHT = 1.0
VIDEO_LOSS_WEIGHT = 0.25
PROTOTYPE_LOGIT_WEIGHT = 0.5
# The paper's (CFFM, sections 3.1 and 4.1), which the authors' weights need.
PAPER: dict[str, Any] = {
    "temporal": "CFFM",
    "output": "classifier",
    "image_loss_weight": 0.5,
    "video_loss_weight": 1.0,
}
# Models by name: kind -> arguments, as configs/vspw/<kind>_<encoder>.yaml have them.
KINDS: dict[str, dict[str, Any]] = {
    "cffm": PAPER,
    "cffm_recall": {},
    # Its cells are as fine as the head's, and its clips are of neighbours, as in a stream.
    "cffm_memory": {"temporal": "CFFMMemory", "stride": 4, "frame_offsets": (-3, -2, -1)},
    "mrcfa": PAPER | {"temporal": "MRCFA", "output": "refined"},
    "segformer": {"temporal": None},
    "tv3s": PAPER | {"temporal": "TV3S", "output": "refined"},
}
# Arguments of a temporal module that its paper has for an encoder (CFFM, section 4.1).
_CFFM_ON: dict[str, dict[str, Any]] = {"mit_b0": {"depth": 1}, "mit_b5": {"depth": 4}}
ON_ENCODER: dict[str, dict[str, dict[str, Any]]] = {
    "CFFM": _CFFM_ON,
    "CFFMRecall": _CFFM_ON,
    "CFFMMemory": _CFFM_ON,
    "MRCFA": {"mit_b0": {"keep": 0.8}, "mit_b1": {"deep_nets": True}},
}
EMBEDDING_CHANNELS = 256  # of models by name; of configs MODEL.SEM_SEG_HEAD.CONVS_DIM, detectron2's
DROP_PATH_RATE = 0.1  # of MiT
# ImageNet's, red, green, blue, of images with values 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
# CFFM's blocks, by their names in CFFM and, in capitals, in MODEL.CFFM.
DEPTH = 2
NUM_HEADS = 8
WINDOW_SIZE = 7
REFERENCE_POOLS = (1, 2, 3)
REFERENCE_KERNELS = (7, 5, 3)
TARGET_KERNEL = 5
MLP_RATIO = 4.0
RECALL_RADIUS = 1
RECALL_KEY_DIM = 32
MEMORY_FRAMES = 16.0  # of CFFMMemory: that a cell of it counts as, at most
CONTEXT_POOL = 2  # cells of the memory to a cell of CFFM, to either side
# MRCFA's arguments, and keys of MODEL.MRCFA.
MRCFA_LEVELS = ("res3", "res4", "res5")
MRCFA_KEEP = 0.5
MRCFA_DEEP_NETS = False
MRCFA_SCORE_CELLS = 5
# TV3S's blocks (TV3S, section 4.1), by their names in TV3S and, in capitals, in MODEL.TV3S.
TV3S_MODE = "clip"
TV3S_DEPTH = 8
TV3S_WINDOW_SIZE = 20
TV3S_SHIFT = 10
TV3S_NUM_STATES = 16
TV3S_WINDOW_DROP_RATE = 0.1
