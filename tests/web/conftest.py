"""A tiny model in a file, and videos to give it."""

import socket
from fractions import Fraction

import numpy as np
import pytest
from fresh_process import ROOT
from tiny_models import build_varied
from tiny_training import CONFIG, TINY

from cffm_plugin.checkpoint import ModelInfo, write_half_precision
from cffm_plugin.config import load_config
from cffm_plugin.video.reading import SourceFrame
from cffm_plugin.video.writing import VideoWriter

RATE = Fraction(10)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Of a tiny CFFM whose predictions vary; the file carries its config."""
    keys = [*TINY, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4", "MODEL.DEVICE", "cpu"]
    cfg = load_config(str(ROOT / CONFIG[1]), keys)
    model = build_varied(cfg)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    info = ModelInfo.from_config(cfg, ("upper", "lower", "car", "tree"))
    write_half_precision(model.state_dict(), path, info.as_metadata())
    return path


@pytest.fixture(scope="session")
def make_video():
    """Write a video of so many frames, ten a second, in which noise is drawn anew each time."""
    pytest.importorskip("av")

    def make(path, num_frames=12, size=(48, 64)):
        rng = np.random.default_rng(0)
        ramp = np.linspace(0, 200, size[1])[None, :, None]
        writer = VideoWriter(path, RATE)
        for index in range(num_frames):
            picture = np.clip(ramp + rng.normal(0, 30, (*size, 3)), 0, 255).astype(np.uint8)
            writer.write(SourceFrame(f"{index:08d}", picture, index / 10), picture)
        writer.close()
        return path

    return make


@pytest.fixture(scope="session")
def free_port():
    """Find a port that nobody listens on."""

    def find():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

    return find
