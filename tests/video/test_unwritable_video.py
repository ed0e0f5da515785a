"""Videos and pictures that can't be written: an error that says so, and what was there stays."""

import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from full_disk import files_at_most

from cffm_plugin.data import read_mask
from cffm_plugin.video.reading import SourceFrame, VideoFile
from cffm_plugin.video.video_demo import VideoDemo
from cffm_plugin.video.writing import LabelMapFolder, PictureFolder, VideoWriter

av = pytest.importorskip("av")

RATE = Fraction(25)
FRAME = SourceFrame("0", np.empty(0), 0.0)


def noise(index, size=(96, 128)):
    return np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)


def write(path, count):
    writer = VideoWriter(path, RATE)
    try:
        for index in range(count):
            writer.write(FRAME, noise(index))
    finally:
        writer.close()
    return path


def test_a_video_under_way_has_a_hidden_name_and_what_was_there_plays_until_it_is_whole(tmp_path):
    path = write(tmp_path / "a.mp4", 3)
    writer = VideoWriter(path, RATE)
    count = 0
    while len(os.listdir(tmp_path)) == 1 and count < 300:  # the encoder looks ahead
        writer.write(FRAME, noise(count))
        count += 1
    assert len(os.listdir(tmp_path)) == 2
    assert len(list(VideoFile(path))) == 3
    writer.close()
    assert os.listdir(tmp_path) == ["a.mp4"] and len(list(VideoFile(path))) == count


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_told_with_the_path_and_the_old_video_stays(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", 3)
    told = pytest.raises(OSError, match=f"a{suffix} could not be written.*MiB are free")
    with files_at_most(40_000), told:
        write(path, 60)
    assert os.listdir(tmp_path) == [path.name]
    assert len(list(VideoFile(path))) == 3


@pytest.mark.parametrize("kind", ["pictures", "label maps"])
def test_a_full_disk_leaves_whole_pictures_alone(tmp_path, kind):
    if kind == "pictures":
        sink, picture = PictureFolder(tmp_path), noise(0)
    else:
        sink, picture = LabelMapFolder(tmp_path, [(0, 0, 0)] * 256), noise(0)[:, :, 0]
    sink.write(FRAME, picture)
    before = (tmp_path / "0.png").read_bytes()
    with files_at_most(1000), pytest.raises(OSError, match=r"\.png could not be written"):
        sink.write(replace(FRAME, name="1"), picture)
    with files_at_most(1000), pytest.raises(OSError, match=r"0\.png could not be written"):
        sink.write(FRAME, picture)
    assert os.listdir(tmp_path) == ["0.png"]
    assert (tmp_path / "0.png").read_bytes() == before


def test_a_demo_whose_disk_fills_up_says_which_file(tmp_path):
    class Source:
        num_frames, rate, files = 200, RATE, ()

        def __iter__(self):
            return (SourceFrame(str(i), noise(i), i / 25) for i in range(200))

    class Segmentor:
        def reset(self):
            pass

        def step(self, image, prototypes=None, channel_order="BGR"):
            return torch.zeros(image.shape[:2], dtype=torch.uint8)

    demo = VideoDemo(Segmentor(), [("a", (0, 0, 0))], legend="off")
    told = pytest.raises(OSError, match="out.mp4 could not be written")
    with files_at_most(40_000), told:
        demo.run(Source(), VideoWriter(tmp_path / "out.mp4", RATE))
    assert os.listdir(tmp_path) == []


def test_a_png_of_256_classes_holds_every_one_of_them(tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    LabelMapFolder(tmp_path, [(k, 0, 255 - k) for k in range(256)]).write(FRAME, every)
    assert np.array_equal(read_mask(tmp_path / "0.png"), every)
