"""A tiny CFFM on the tiny dataset."""

import pytest


@pytest.fixture
def cfg(tiny_cfg, tmp_path):
    """The config of a model that trains a step in milliseconds."""
    tiny_cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.NAME = "mit_tiny"
    tiny_cfg.MODEL.SEM_SEG_HEAD.NAME = "SegFormerHead"
    tiny_cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    tiny_cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    tiny_cfg.MODEL.SEM_SEG_HEAD.NORM = "BN"
    tiny_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 255
    tiny_cfg.MODEL.CFFM.DEPTH = 1
    tiny_cfg.MODEL.CFFM.NUM_HEADS = 4
    tiny_cfg.MODEL.WEIGHTS = ""
    tiny_cfg.SOLVER.BASE_LR = 0.002
    tiny_cfg.SOLVER.HEAD_LR_MULTIPLIER = 2.0
    tiny_cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    tiny_cfg.SOLVER.WARMUP_ITERS = 2
    tiny_cfg.SOLVER.MAX_ITER = 4
    tiny_cfg.INPUT.TEST_SIZE_DIVISIBILITY = 16
    tiny_cfg.OUTPUT_DIR = str(tmp_path / "output")
    return tiny_cfg
