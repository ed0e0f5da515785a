"""Fixtures for all tests. detectron2 is imported inside them: tests of ``core`` go without it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

TINY_COLORS = ((40, 60, 200), (220, 50, 40), (60, 190, 70), (230, 200, 40))  # RGB of the classes

torch.set_num_threads(2)
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


def _write_frame(root: Path, video_id: str, index: int, size: tuple[int, int]) -> None:
    """Two stuff classes, two boxes that move, a void rim; each class has its own colour, noisy."""
    height, width = size
    labels = np.zeros(size, dtype=np.uint8)
    labels[height // 2 :] = 1
    for k, (top, speed) in enumerate([(0.15, 2), (0.55, -3)], start=2):
        left = (k * width // 4 + speed * index) % (width - width // 4)
        box = slice(int(top * height), int((top + 0.3) * height)), slice(left, left + width // 4)
        labels[box] = k
    raw = labels + 1
    raw[:, :2] = 0
    noise = np.random.default_rng([index, *video_id.encode()]).normal(0, 6, (*size, 3))
    frame = np.clip(np.array(TINY_COLORS)[labels] + noise, 0, 255).astype(np.uint8)
    folder = root / "data" / video_id
    Image.fromarray(frame).save(folder / "origin" / f"{index:08d}.jpg", quality=95)
    Image.fromarray(raw).save(folder / "mask" / f"{index:08d}.png")


def write_vspw_tree(
    root: Path, videos: dict[str, dict[str, int]], size: tuple[int, int] = (48, 64)
) -> Path:
    """Write a dataset in VSPW's layout with four classes: split -> video -> number of frames."""
    for split, lengths in videos.items():
        for video_id, num_frames in lengths.items():
            if (root / "data" / video_id).exists():
                continue  # a video may stand in several splits
            for folder in ("origin", "mask"):
                (root / "data" / video_id / folder).mkdir(parents=True)
            for index in range(num_frames):
                _write_frame(root, video_id, index, size)
        (root / f"{split}.txt").write_text("\n".join(lengths))
    return root


@pytest.fixture
def write_vspw() -> Callable[..., Path]:
    """``write_vspw_tree``."""
    return write_vspw_tree


@pytest.fixture
def tiny_vspw(tmp_path: Path, write_vspw: Callable[..., Path]) -> Iterator[TinyVSPW]:
    """Three training and two validation videos of 12 to 20 frames, registered while a test runs."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from cffm_plugin.data import register_vspw

    videos = {"train": {"t0": 12, "t1": 14, "t2": 13}, "val": {"v0": 12, "v1": 20}}
    size = (48, 64)
    root = write_vspw(tmp_path / "tiny_vspw", videos, size)
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
    cfg.INPUT.FIT_SIZE = (64, 48)
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [32, 32]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    return cfg
