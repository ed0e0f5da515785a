"""docs/extend.md: its files are written out as they stand, and run."""

import json

import pytest
import torch
from pages import blocks_of, command_of, lines_of, run
from tiny_dataset import write_vspw_tree

PAGE = "extend.md"
TINY = [
    *("MODEL.MIT.NAME", "mit_tiny", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.DEVICE", "cpu"),
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.CLIP.FIT_SIZE", "(64, 48)", "INPUT.CROP.SIZE", "[32, 32]"),
]
PARTS = ["my_temporal.py", "my_recurrent.py", "my_dataset.py", "my_head.py", "my_loss.py"]


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
    run(folder, *command_of(PAGE), *TINY, *names)
    results = json.loads((folder / "output/mine/inference/vspw_results.json").read_text())
    assert results["frames"] == results["scored_frames"] == 7
    weights = torch.load(folder / "output/mine/model_final.pth", weights_only=False)["model"]
    assert "temporal.module.mix.weight" in weights
    log = (folder / "output/mine/log.txt").read_text()
    assert ("OneMapHead has no losses" in log) == (head == "OneMapHead")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_takes_fewer_than_25_lines(part):
    assert len(lines_of(blocks_of(PAGE)[part])) < 25
