"""docs/extend.md: its files are written out as they stand, and run."""

import json
import os
import runpy

import pytest
import torch
import warm_process
from pages import blocks_of, command_of, lines_of, run
from tiny_dataset import write_vspw_tree
from wrapped_nets import NUM_CLASSES, assert_starts_as

import cffm_plugin

PAGE = "extend.md"
TINY = [
    *("MODEL.MIT.NAME", "mit_tiny", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.DEVICE", "cpu"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.CLIP.FIT_SIZE", "(64, 48)", "INPUT.CROP.SIZE", "[32, 32]"),
]
PARTS = [
    *("my_net.py", "my_temporal.py", "my_recurrent.py"),
    *("my_dataset.py", "my_head.py", "my_loss.py"),
]


@pytest.fixture
def folder(tmp_path):
    """A person's folder with the page's files, and videos in a layout of their own."""
    for name, text in blocks_of(PAGE).items():
        (tmp_path / name).write_text(text)
    videos = {"train": {"t0": 12, "t1": 11}, "val": {"v0": 7}}
    root = write_vspw_tree(tmp_path / "videos", videos)
    index = {
        split: {
            video: [
                [str(frame), str(root / "data" / video / "mask" / f"{frame.stem}.png")]
                for frame in sorted((root / "data" / video / "origin").iterdir())
            ]
            for video in lengths
        }
        for split, lengths in videos.items()
    }
    index["train"]["t0"][0][1] = None  # a frame without labels
    (tmp_path / "my_videos.json").write_text(json.dumps(index))
    return tmp_path


@pytest.mark.parametrize(
    "head, temporal", [("FocalSegFormerHead", "MeanOfPast"), ("OneMapHead", "RunningMean")]
)
def test_the_page_trains_and_evaluates(folder, head, temporal):
    names = ("MODEL.SEM_SEG_HEAD.NAME", head, "MODEL.TEMPORAL.NAME", temporal)
    run(folder, *command_of(PAGE, "my_train_net.py"), *TINY, *names)
    results = json.loads((folder / "output/mine/inference/vspw_results.json").read_text())
    assert results["frames"] == results["scored_frames"] == 7
    weights = torch.load(folder / "output/mine/model_final.pth", weights_only=False)["model"]
    assert "temporal.module.mix.weight" in weights
    log = (folder / "output/mine/log.txt").read_text()
    assert ("OneMapHead has no losses" in log) == (head == "OneMapHead")


def test_its_script_is_the_command_with_its_messages_and_the_word_opts(folder):
    """A key that there is not is one line, after keys with --opts as without."""
    for words in (("NO.SUCH", "1"), ("--opts", "NO.SUCH", "1")):
        command = [*command_of(PAGE, "my_train_net.py"), *words]
        result = warm_process.run(command, cwd=folder, env=os.environ)
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert "there is no config key NO.SUCH" in result.stderr.strip().splitlines()[-1]


def test_a_net_of_ones_own_trains_and_streams_under_a_temporal_module_of_ones_own(folder):
    printed = run(folder, *command_of(PAGE, "my_video_net.py"))
    names = [line.split()[0] for line in printed.splitlines() if "torch.Size([64, 96])" in line]
    assert names == ["00000000", "00000001", "00000002", "00000003"]


def test_a_net_of_ones_own_is_what_the_video_segmentor_starts_as(folder):
    files = runpy.run_path(str(folder / "my_net.py"))
    net = files["MyNet"](NUM_CLASSES).eval()
    assert_starts_as(cffm_plugin.wrap(net).eval(), net, (61, 90))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_takes_fewer_than_25_lines(part):
    assert len(lines_of(blocks_of(PAGE)[part])) < 25
