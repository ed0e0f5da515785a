"""Images are normalised as in the backbone's own pretraining, and the log says how."""

import argparse

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image

from cffm_plugin.config import load_config
from cffm_plugin.data import ClipMapper
from cffm_plugin.engine import setup
from cffm_plugin.modeling import resolve_normalization

TINY_SEGMENTER = [
    *("MODEL.META_ARCHITECTURE", "CFFMSegmentor", "MODEL.DEVICE", "cpu"),
    *("MODEL.TEMPORAL.ENABLED", "False", "MODEL.SEM_SEG_HEAD.NAME", "SegFormerHead"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res5']", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"),
    *("MODEL.TIMM.OUT_FEATURES", "['res2', 'res5']"),
]
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], "RGB")
CAFFE = ([103.53, 116.28, 123.675], [1.0, 1.0, 1.0], "BGR")  # as detectron2 has it
HALF = ([127.5] * 3, [127.5] * 3, "RGB")  # -1..1
MINE = ([90.0, 91.0, 92.0], [60.0, 61.0, 62.0], "BGR")


def make_config(name, normalization=CAFFE, **timm_keys):
    """Of a timm model, or of a backbone by its name in the registry."""
    cfg = load_config("", TINY_SEGMENTER)
    if name.startswith("build_"):
        cfg.MODEL.BACKBONE.NAME = name
    else:
        cfg.MODEL.BACKBONE.NAME = "build_timm_backbone"
        cfg.MODEL.TIMM.NAME = name
    for key, value in timm_keys.items():
        cfg.MODEL.TIMM[key] = value
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = normalization
    return cfg


def normalization_of(cfg):
    return cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT


@pytest.fixture
def log(caplog):
    """What this package logs, as (level, message)."""
    with caplog.at_level("INFO", logger="cffm_plugin"):
        yield lambda: [(r.levelname, r.getMessage()) for r in caplog.records]


@pytest.mark.parametrize(
    "name, expected", [("swin_tiny_patch4_window7_224", IMAGENET), ("tf_efficientnet_lite0", HALF)]
)
def test_a_config_that_says_nothing_gets_the_pretrainings_own(log, name, expected):
    cfg = make_config(name)
    resolve_normalization(cfg)
    assert normalization_of(cfg) == expected
    ((level, message),) = log()
    assert level == "INFO" and f"RGB (as in the pretraining of timm's {name})" in message
    before = normalization_of(cfg)
    resolve_normalization(cfg)
    assert normalization_of(cfg) == before


def test_a_config_that_says_something_else_is_overruled_with_a_warning(log):
    cfg = make_config("test_resnet", MINE)
    resolve_normalization(cfg)
    assert normalization_of(cfg) == HALF
    (level, message), (_, line) = log()
    assert level == "WARNING" and "mean 90, 91, 92, std 60, 61, 62, BGR, is not used" in message
    assert "MODEL.TIMM.OWN_NORMALIZATION False" in message
    assert "mean 127.5, 127.5, 127.5" in line and "test_resnet" in line


def test_the_config_decides_where_it_is_told_to_and_the_log_says_that_they_differ(log):
    cfg = make_config("test_resnet", MINE, OWN_NORMALIZATION=False)
    resolve_normalization(cfg)
    assert normalization_of(cfg) == MINE
    (level, message), (_, line) = log()
    assert level == "WARNING" and "timm's test_resnet, mean 127.5" in message
    assert line.endswith("mean 90, 91, 92, std 60, 61, 62, BGR (from the config)")


@pytest.mark.parametrize(
    "name, normalization, reason",
    [
        ("resnetaa34d", MINE, "timm publishes no pretrained weights of resnetaa34d"),
        ("test_resnet", ([1.0] * 4, [2.0] * 4, "RGB"), "images have 4 channels"),
        ("build_resnet_backbone", CAFFE, "(from the config)"),
    ],
)
def test_what_has_no_own_normalisation_keeps_the_configs(log, name, normalization, reason):
    cfg = make_config(name, normalization)
    resolve_normalization(cfg)
    assert normalization_of(cfg) == normalization
    ((level, message),) = log()
    assert level == "INFO" and "(from the config" in message and reason in message


def test_mit_with_another_normalisation_than_its_pretrainings_gets_a_warning(log):
    cfg = make_config("build_mit_backbone", IMAGENET)
    resolve_normalization(cfg)
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = CAFFE
    resolve_normalization(cfg)
    assert normalization_of(cfg) == CAFFE
    assert [level for level, _ in log()] == ["INFO", "WARNING", "INFO"]


def test_a_model_of_an_unresolved_config_keeps_to_it_and_warns(log):
    model = build_model(make_config("test_resnet"))
    assert model.pixel_mean.flatten().tolist() == pytest.approx(CAFFE[0])
    ((level, message),) = log()
    assert level == "WARNING" and "resolve_normalization(cfg)" in message
    cfg = make_config("test_resnet")
    resolve_normalization(cfg)
    build_model(cfg)
    assert [level for level, _ in log()] == ["WARNING", "INFO"]  # no second warning


def test_set_up_makes_mapper_and_model_agree(tmp_path):
    """A red file reaches the backbone red first, in the pretraining's units."""
    keys = ["MODEL.BACKBONE.NAME", "build_timm_backbone", "MODEL.TIMM.NAME", "test_efficientnet"]
    keys += ["OUTPUT_DIR", str(tmp_path), "SEED", "1"]
    args = argparse.Namespace(config_file="", opts=TINY_SEGMENTER + keys, eval_only=True)
    cfg = setup(args)
    line = "mean 123.675, 116.28, 103.53, std 58.395, 57.12, 57.375, RGB (as in the pretraining of"
    assert f"Input normalisation: {line} timm's test_efficientnet)" in (
        (tmp_path / "log.txt").read_text()
    )
    assert "OWN_NORMALIZATION" in (tmp_path / "config.yaml").read_text()

    Image.fromarray(np.full((32, 32, 3), (255, 0, 0), dtype=np.uint8)).save(tmp_path / "red.png")
    record = {"video_id": "v", "file_name": str(tmp_path / "red.png"), "reference_file_names": []}
    model = build_model(cfg).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    with torch.no_grad():
        model([ClipMapper(cfg, is_train=False)(record)])
    # (255 - 0.485 * 255) / (0.229 * 255) = 0.515 / 0.229; -0.456 / 0.224; -0.406 / 0.225
    expected = [0.515 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(expected, rel=1e-5)
