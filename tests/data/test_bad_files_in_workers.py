"""What the main process says where a worker of a loader meets a bad file."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from cffm_plugin.data import build_clip_test_loader, build_clip_train_loader


def bomb(path):
    path.unlink()
    Image.new("1", (1200, 1000)).save(path, "PNG")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def other_size(mask):
    Image.new("L", (5, 7), 1).save(mask)


@pytest.fixture
def cfg(tiny_cfg, monkeypatch):
    # How long torch waits for a worker to leave that has its own time to live at SIGTERM.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    tiny_cfg.DATALOADER.NUM_WORKERS = 1
    tiny_cfg.INPUT.MAX_MEGAPIXELS = 1
    return tiny_cfg


@pytest.mark.parametrize(
    ("fault", "kind", "error", "message"),
    [
        (bomb, "origin", ValueError, "{}: .*1200x1000 pixels.*INPUT.MAX_MEGAPIXELS.* is 1"),
        (cut, "mask", ValueError, "{}: .*damaged"),
        (pipe, "origin", ValueError, "{}: .*this is a pipe"),
        (Path.unlink, "mask", FileNotFoundError, "{}: .*there is no such file"),
        (other_size, "mask", ValueError, ".* is 64x48 and .*{} is 5x7"),
    ],
    ids=["bomb", "cut", "pipe", "missing", "other_size"],
)
def test_training_names_video_frame_and_file(cfg, tiny_vspw, fault, kind, error, message):
    loader = build_clip_train_loader(cfg)
    for file in tiny_vspw.root.glob(f"data/*/{kind}/*"):  # whichever is drawn first
        fault(file)
    message = message.replace("{}", rf".*data/\1/{kind}/\2\.\w+")
    with pytest.raises(error, match=rf"(?s)Video (\w+), frame (\d+): {message}"):
        next(iter(loader))


def test_evaluation_names_video_frame_and_file(cfg, tiny_vspw):
    loader = build_clip_test_loader(cfg, tiny_vspw.val, frame_offsets=())
    pipe(tiny_vspw.root / "data" / "v0" / "origin" / "00000002.jpg")
    with pytest.raises(ValueError, match=r"Video v0, frame 00000002: .*v0/origin/00000002\.jpg:"):
        list(loader)
