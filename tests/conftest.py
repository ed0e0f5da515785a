"""Fixtures for all tests. detectron2 is imported inside them: tests of ``core`` go without it."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch
from tiny_dataset import TINY_COLORS, write_vspw_tree

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
cv2.setNumThreads(1)


@dataclass(frozen=True)
class TinyVSPW:
    """A dataset in VSPW's layout and the names that it is registered under.

    Attributes:
        root: its folder.
        num_classes: 4.
        train, val: registered names.
        lengths: video id -> number of frames, training videos first.
        size: (height, width) of all frames.
    """

    root: Path
    num_classes: int
    train: str
    val: str
    lengths: dict[str, int]
    size: tuple[int, int]


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """detectron2's set-up cuts its loggers off from the root's, and writes where a test's output
    went: not for the tests to come."""
    loggers = [logging.getLogger(name) for name in ("cffm_plugin", "detectron2", "fvcore")]
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    setup = sys.modules.get("detectron2.utils.logger")
    if setup is not None:
        setup.setup_logger.cache_clear()


@pytest.fixture
def write_vspw() -> Callable[..., Path]:
    """``write_vspw_tree``."""
    return write_vspw_tree


@pytest.fixture
def forget_datasets() -> Iterator[None]:
    """What a test registers with detectron2 is gone after it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    import cffm_plugin.data  # noqa: F401  (registers the builtin ones)

    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


TINY_VIDEOS = {"train": {"t0": 12, "t1": 14, "t2": 13}, "val": {"v0": 12, "v1": 20}}
TINY_SIZE = (48, 64)


@pytest.fixture(scope="session")
def tiny_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of ``tiny_vspw``: copying them takes a third of the time that making them does."""
    return write_vspw_tree(tmp_path_factory.mktemp("tiny") / "vspw", TINY_VIDEOS, TINY_SIZE)


@pytest.fixture
def tiny_vspw(tmp_path: Path, tiny_tree: Path) -> Iterator[TinyVSPW]:
    """Three training and two validation videos of 12 to 20 frames, registered while a test runs."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from cffm_plugin.data import register_vspw

    videos, size = TINY_VIDEOS, TINY_SIZE
    root = tmp_path / "tiny_vspw"
    shutil.copytree(tiny_tree, root, copy_function=shutil.copyfile)
    names = {split: f"tiny_vspw_{split}" for split in videos}
    classes = ("upper", "lower", "upper box", "lower box")
    for split, name in names.items():
        register_vspw(name, root, split, classes=classes, colors=TINY_COLORS)
    lengths = videos["train"] | videos["val"]
    yield TinyVSPW(root, len(classes), names["train"], names["val"], lengths, size)
    for name in names.values():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def tiny_cfg(tiny_vspw: TinyVSPW):
    """The default config for ``tiny_vspw``: 32x32 crops, two clips per batch, no workers."""
    from cffm_plugin.config import load_config

    cfg = load_config()
    cfg.DATASETS.TRAIN = (tiny_vspw.train,)
    cfg.DATASETS.TEST = (tiny_vspw.val,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SEED = 1
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = tiny_vspw.num_classes
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.CLIP.FIT_SIZE = (64, 48)
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [32, 32]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    cfg.SOLVER.OPTIMIZER = "AdamW"
    return cfg


@pytest.fixture
def tiny_cffm_cfg(tiny_cfg):
    """``tiny_cfg`` with a CFFM that takes a frame in milliseconds."""
    tiny_cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
    tiny_cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    tiny_cfg.MODEL.MIT.NAME = "mit_tiny"
    tiny_cfg.MODEL.SEM_SEG_HEAD.NAME = "SegFormerHead"
    tiny_cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    tiny_cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 16
    tiny_cfg.MODEL.SEM_SEG_HEAD.NORM = "BN"
    tiny_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 255
    tiny_cfg.MODEL.TEMPORAL.NAME = "CFFM"
    tiny_cfg.MODEL.TEMPORAL.OUTPUT = "classifier"
    tiny_cfg.MODEL.CFFM.DEPTH = 1
    tiny_cfg.MODEL.CFFM.NUM_HEADS = 4
    tiny_cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 16
    return tiny_cfg


@pytest.fixture(scope="module")
def browser():
    """Chromium, where there is one that starts."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"there is no Chromium that starts: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Tests marked ``own_process`` run in one: they load what may not get on with other tests."""
    if pyfuncitem.get_closest_marker("own_process") is None or "OWN_PROCESS" in os.environ:
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["OWN_PROCESS"] = "1"
    root = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    return True
