"""cffm compare on a folder of videos that a YAML file describes, with real trainings."""

import json

import pytest
import warm_process

FOLDER = """
mine_train: &mine
  root: videos
  classes: [upper, lower, upper box, lower box]
  videos: [t0, t1]
  is_train: true
  frames: "data/{video}/origin/{frame}.jpg"
  masks: "data/{video}/mask/{frame}.png"
  label_mapping: {1: upper, 2: lower, 3: upper box, 4: lower box}
  void: [0, 255]
mine_val:
  <<: *mine
  videos: [v0]
  is_train: false
"""


@pytest.fixture
def compare(tiny_cffm_cfg, tmp_path, write_vspw):
    """Calls the tool in a folder with two configs, ``image`` and ``video``."""
    write_vspw(tmp_path / "videos", {"train": {"t0": 12, "t1": 13}, "val": {"v0": 18}})
    (tmp_path / "mine.yaml").write_text(FOLDER)
    cfg = tiny_cffm_cfg
    cfg.DATASETS.VIDEO_FOLDERS = ("mine.yaml",)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("mine_train",), ("mine_val",)
    cfg.MODEL.WEIGHTS, cfg.SOLVER.MAX_ITER = "", 2
    (tmp_path / "video.yaml").write_text(cfg.dump())
    cfg.MODEL.TEMPORAL.ENABLED = False
    (tmp_path / "image.yaml").write_text(cfg.dump())

    def call(*arguments):
        return warm_process.run(["-m", "cffm_command", "compare", *arguments], cwd=tmp_path)

    return call


@pytest.mark.slow(reason="five trainings and evaluations")
def test_it_trains_evaluates_and_tells_and_goes_on_where_it_was(compare, tmp_path):
    arguments = [
        *("--start", "image.yaml", "--configs", "image.yaml", "video.yaml", "--seeds", "3"),
        *("--smoothing", "0.5", "--jobs", "2", "--output", "out"),
    ]
    result = compare(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[5/5]" in result.stdout and "ETA" in result.stdout
    table = (tmp_path / "out" / "comparison.md").read_text()
    assert table in result.stdout
    for row in ("| image ", "| image, smoothing 0.5 ", "| video ", "| video, smoothing 0.5 "):
        assert row in table
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    runs = {run["model"]: run for run in found["runs"]}
    assert runs["video"]["parameters"] > runs["image"]["parameters"] and runs["video"]["steps"] == 2
    for model in ("image", "video"):
        assert runs[model]["scores"]["mine_val"]["mVC8"] is not None

    weights = tmp_path / "out" / "video" / "seed3" / "model_final.pth"
    written = weights.stat().st_mtime_ns
    again = compare(*arguments)
    assert again.returncode == 0 and "5 of 5 runs are there already" in again.stdout
    assert weights.stat().st_mtime_ns == written and table in again.stdout

    other = compare(*arguments, "SOLVER.MAX_ITER", "3")
    assert other.returncode == 1 and "SOLVER.MAX_ITER: 2 there, 3 now" in other.stderr


def test_two_configs_of_one_name_are_an_error(compare):
    result = compare("--configs", "image.yaml", "image.yaml", "--output", "out")
    assert result.returncode == 1 and "image can stand once" in result.stderr
