"""Commands that train in seconds: the paper's recipe with a tiny model on a tiny dataset."""

import os

from tiny_dataset import write_vspw_tree

CONFIG = ("--config-file", "configs/vspw/cffm_mit_b0.yaml")
TINY = [
    *("MODEL.MIT.NAME", "mit_tiny", "MODEL.WEIGHTS", "", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
    *("MODEL.CFFM.DEPTH", "1", "MODEL.CFFM.NUM_HEADS", "4", "SOLVER.MAX_ITER", "20"),
    *(
        "SOLVER.IMS_PER_BATCH",
        "2",
        "DATALOADER.NUM_WORKERS",
        "0",
        "INPUT.CLIP.FIT_SIZE",
        "(64, 48)",
    ),
    *("INPUT.CROP.SIZE", "[32, 32]", "INPUT.CLIP.TEST_SIZE_DIVISIBILITY", "16"),
]


def write_tiny_vspw(folder):
    """Make ``folder`` a $DETECTRON2_DATASETS with a tiny dataset in VSPW's place."""
    videos = {
        "train": {"t0": 12, "t1": 11},
        "val": {"v0": 18, "v1": 2, "v2": 20},
        "test": {"v0": 18},
    }
    write_vspw_tree(folder / "vspw" / "VSPW_480p", videos)
    return folder


def tiny_environment(datasets):
    """The environment's variables of a command."""
    return {
        **os.environ,
        "DETECTRON2_DATASETS": str(datasets),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
