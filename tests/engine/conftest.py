"""A tiny CFFM on the tiny dataset."""

import pytest


@pytest.fixture
def cfg(tiny_cffm_cfg, tmp_path):
    """The config of a model that trains a step in milliseconds."""
    tiny_cffm_cfg.MODEL.WEIGHTS = ""
    tiny_cffm_cfg.SOLVER.BASE_LR = 0.002
    tiny_cffm_cfg.SOLVER.HEAD_LR_MULTIPLIER = 2.0
    tiny_cffm_cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    tiny_cffm_cfg.SOLVER.WARMUP_ITERS = 2
    tiny_cffm_cfg.SOLVER.MAX_ITER = 4
    tiny_cffm_cfg.OUTPUT_DIR = str(tmp_path / "output")
    return tiny_cffm_cfg
