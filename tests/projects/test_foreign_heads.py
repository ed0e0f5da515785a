"""Every tool takes a config with another project's keys and head, without a line of Python.

The configs are that of projects/DeepLabV3Plus, and PointRend's with what
docs/wrap-your-segmenter.md adds; the rest makes them tiny. All tools run in a folder of the
person's, and evaluation in another one, on the config that was saved.
"""

import json
import os
from pathlib import Path

import pytest
import warm_process
from detectron2.config import CfgNode
from pages import blocks_of
from tiny_dataset import write_vspw_tree

ROOT = Path(__file__).parents[2]

# The keys of Detectron2's pointrend_semantic_R_101_FPN_1x_cityscapes.yaml in its PointRend project,
# its bases included. Detectron2's wheel has the project, but no configs of it.
POINT_REND_STOCK = """
MODEL:
  META_ARCHITECTURE: "SemanticSegmentor"
  WEIGHTS: detectron2://ImageNetPretrained/MSRA/R-101.pkl
  MASK_ON: False
  BACKBONE:
    NAME: "build_resnet_fpn_backbone"
    FREEZE_AT: 0
  RESNETS:
    DEPTH: 101
    OUT_FEATURES: ["res2", "res3", "res4", "res5"]
  FPN:
    IN_FEATURES: ["res2", "res3", "res4", "res5"]
  SEM_SEG_HEAD:
    NAME: "PointRendSemSegHead"
    NUM_CLASSES: 19
  POINT_HEAD:
    NAME: "StandardPointHead"
    FC_DIM: 256
    NUM_FC: 3
    IN_FEATURES: ["p2"]
    NUM_CLASSES: 19
    TRAIN_NUM_POINTS: 2048
    SUBDIVISION_NUM_POINTS: 8192
    COARSE_PRED_EACH_LAYER: True
    COARSE_SEM_SEG_HEAD_NAME: "SemSegFPNHead"
DATASETS:
  TRAIN: ("cityscapes_fine_sem_seg_train",)
  TEST: ("cityscapes_fine_sem_seg_val",)
SOLVER:
  BASE_LR: 0.01
  STEPS: (40000, 55000)
  MAX_ITER: 65000
  IMS_PER_BATCH: 32
INPUT:
  MIN_SIZE_TRAIN: (512, 768, 1024, 1280, 1536, 1792, 2048)
  MIN_SIZE_TRAIN_SAMPLING: "choice"
  MIN_SIZE_TEST: 1024
  MAX_SIZE_TRAIN: 4096
  MAX_SIZE_TEST: 2048
  CROP:
    ENABLED: True
    TYPE: "absolute"
    SIZE: (512, 1024)
    SINGLE_CATEGORY_MAX_AREA: 0.75
  COLOR_AUG_SSD: True
DATALOADER:
  NUM_WORKERS: 10
VERSION: 2
"""

POINT_REND = """
_BASE_: "pointrend_cffm.yaml"
MODEL:
  WEIGHTS: ""
  PIXEL_STD: [57.375, 57.12, 58.395]  # the weights are random: inputs of about 1
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, STEM_OUT_CHANNELS: 16}
  FPN: {OUT_CHANNELS: 16}
  SEM_SEG_HEAD: {NUM_CLASSES: 4, CONVS_DIM: 32}
  POINT_HEAD:
    NUM_CLASSES: 4
    FC_DIM: 16
    TRAIN_NUM_POINTS: 32
    SUBDIVISION_STEPS: 2
    SUBDIVISION_NUM_POINTS: 64
"""

DEEP_LAB = f"""
_BASE_: "{ROOT}/projects/DeepLabV3Plus/configs/cffm_r103_vspw.yaml"
MODEL:
  WEIGHTS: ""
  RESNETS: {{DEPTH: 50, STEM_OUT_CHANNELS: 16, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 4}}
  SEM_SEG_HEAD: {{NUM_CLASSES: 4, CONVS_DIM: 16, ASPP_CHANNELS: 16, PROJECT_CHANNELS: [8]}}
"""

TINY = """
  CFFM: {DEPTH: 1, NUM_HEADS: 4}
DATASETS:
  VIDEO_FOLDERS: videos.yaml
  TRAIN: ("strangers_train",)
  TEST: ("strangers_val",)
SOLVER: {MAX_ITER: 2, IMS_PER_BATCH: 2}
DATALOADER: {NUM_WORKERS: 0}
INPUT:
  CLIP: {FIT_SIZE: [64, 48]}
  CROP: {SIZE: [32, 32]}
OUTPUT_DIR: "output"
"""

VIDEOS = """
strangers_train: &videos
  root: tree/data
  classes: [upper, lower, upper box, lower box]
  videos: [t0, t1]
  is_train: true
  frames: "{video}/origin/{frame}.jpg"
  masks: "{video}/mask/{frame}.png"
  label_mapping: {1: upper, 2: lower, 3: upper box, 4: lower box}
  void: [0, 255]
strangers_val:
  <<: *videos
  videos: [v0]
  is_train: false
"""


def run(folder, tool, *arguments):
    environment = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = ["-m", "cffm_command", tool, *arguments]
    result = warm_process.run(command, cwd=folder, env=os.environ | environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module", params=["DeepLabV3Plus", "PointRend"])
def folder(request, tmp_path_factory):
    """A person's folder: videos, a config, and what two steps of training gave."""
    folder = tmp_path_factory.mktemp(request.param)
    write_vspw_tree(folder / "tree", {"train": {"t0": 12, "t1": 11}, "val": {"v0": 5}})
    (folder / "videos.yaml").write_text(VIDEOS)
    (folder / "pointrend_semantic_R_101_FPN_1x_cityscapes.yaml").write_text(POINT_REND_STOCK)
    page = blocks_of("wrap-your-segmenter.md")
    (folder / "pointrend_cffm.yaml").write_text(page["pointrend_cffm.yaml"])
    config = {"DeepLabV3Plus": DEEP_LAB, "PointRend": POINT_REND}[request.param]
    (folder / "mine.yaml").write_text(config + TINY)
    run(folder, "train", "--config-file", "mine.yaml")
    return folder


def test_it_trains_and_evaluates(folder):
    losses = json.loads((folder / "output" / "metrics.json").read_text().splitlines()[0])
    assert losses["loss_video"] > 0
    scores = json.loads((folder / "output" / "inference" / "vspw_results.json").read_text())
    assert scores["frames"] == 5
    log = (folder / "output" / "log.txt").read_text()
    assert "MODEL.IMPORTS: imported " in log
    assert log.count("MODEL.IMPORTS: imported ") == 1


def test_the_saved_config_evaluates_from_another_folder(folder, tmp_path):
    config = folder / "output" / "config.yaml"
    saved = CfgNode(CfgNode.load_yaml_with_base(str(config)))
    (part,) = saved.MODEL.IMPORTS
    assert part in (
        str(ROOT / "projects" / "DeepLabV3Plus" / "head.py"),
        "detectron2.projects.point_rend",
    )
    assert str(folder / "output") == saved.OUTPUT_DIR
    assert tuple(saved.DATASETS.VIDEO_FOLDERS) == (str(folder / "videos.yaml"),)
    results = folder / "output" / "inference" / "vspw_results.json"
    before = json.loads(results.read_text())
    results.unlink()
    weights = ("MODEL.WEIGHTS", folder / "output" / "model_final.pth")
    run(tmp_path, "train", "--eval-only", "--config-file", config, *weights)
    assert json.loads(results.read_text()) == before
    assert list(tmp_path.iterdir()) == []


def test_the_demo_paints(folder):
    frames = ("--input", "tree/data/v0/origin", "--output", "painted")
    weights = ("--opts", "MODEL.WEIGHTS", "output/model_final.pth")
    run(folder, "demo", "--config-file", "mine.yaml", *frames, *weights)
    assert len(list((folder / "painted").iterdir())) == 5


def test_it_is_exported_and_the_graphs_agree(folder):
    printed = run(
        *(folder, "export", "--config-file", "mine.yaml", "--output", "exported"),
        *("--size", "64", "64", "--format", "torch_export", "--check", "--check-frames", "4"),
        *("MODEL.WEIGHTS", "output/model_final.pth"),
    )
    assert "torch_export: 4 frames" in printed


def test_it_is_measured(folder):
    run(
        *(folder, "benchmark", "--config-file", "mine.yaml", "--size", "64", "64"),
        *("--modes", "stream", "image", "--repeats", "1", "--warmup", "1", "--json", "speed.json"),
    )
    assert (folder / "speed.json").exists()
