"""projects/HuggingFace: its README's tiny model, and a training of two steps, in this process."""

import json
import math
import re
from pathlib import Path

import pytest
from detectron2.engine import default_argument_parser
from transformers.utils.logging import set_verbosity_error

from cffm_plugin.checkpoint import read_model_info
from cffm_plugin.config import load_config
from cffm_plugin.engine import main

PROJECT = Path(__file__).parents[2] / "projects" / "HuggingFace"


@pytest.fixture
def tiny_model(tmp_path, monkeypatch):
    """The folder that the README's Python makes."""
    set_verbosity_error()
    (code,) = re.findall(r"<<'END'\n(.*?)\nEND", (PROJECT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    return tmp_path / "output/try/tiny_segformer"


def test_a_model_of_the_hub_becomes_a_video_segmentor_and_trains(tiny_model, tiny_vspw, tmp_path):
    config = PROJECT / "configs/cffm_segformer_b1_ade_vspw.yaml"
    overrides = {
        "MODEL.HF.NAME": "output/try/tiny_segformer",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": tiny_vspw.num_classes,
        "MODEL.CFFM.DEPTH": 1,
        "DATASETS.TRAIN": tiny_vspw.train,
        "DATASETS.TEST": tiny_vspw.val,
        "INPUT.CLIP.FIT_SIZE": "(64, 48)",
        "INPUT.CROP.SIZE": "[32, 32]",
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 2,
        "DATALOADER.NUM_WORKERS": 0,
        "OUTPUT_DIR": str(tmp_path / "run"),
    }
    words = [str(word) for pair in overrides.items() for word in pair]
    args = default_argument_parser().parse_args(["--config-file", str(config), *words])
    results = main(args)
    assert 0 <= results["sem_seg"]["mIoU"] <= 100
    losses = json.loads((tmp_path / "run/metrics.json").read_text().splitlines()[0])
    assert all(math.isfinite(losses[name]) for name in ("loss_sem_seg", "loss_video"))
    info = read_model_info(tmp_path / "run/model_final.pth")
    assert info.image_format == "RGB" and info.pixel_mean == pytest.approx(
        (123.675, 116.28, 103.53)
    )
    assert str(tiny_model) in info.config  # absolute, so that it works from every folder


def test_mask2former_is_frozen_under_cffm_and_trains_alone():
    alone, under = (
        load_config(str(PROJECT / f"configs/{name}_vspw.yaml")).MODEL.TEMPORAL
        for name in ("mask2former_swin_s", "cffm_mask2former_swin_s")
    )
    assert not alone.ENABLED
    assert under.ENABLED and under.FREEZE_IMAGE_SEGMENTER
