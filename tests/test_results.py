"""The results of an evaluation as an object and as a file."""

import json
import math

import pytest

from cffm_plugin.results import FLICKER, METRICS, MIOU, Results

RESULTS = Results(
    "mine_val",
    frames=9,
    scored_frames=7,
    sem_seg={"mIoU": 12.25, "mVC8": 50.0, "mVC16": math.nan, "IoU-upper": 1.0},
    windows={"mVC8": 2, "mVC16": 0},
    vc={"mVC8_vspw": {"percent": 40.0, "windows": 3, "rule": "as VSPW's script"}},
    strict={"over_windows": {"strict_VC2": 90.0, "strict_VC8": 30.0, "temporal_accuracy8": 20.0}},
)


def test_what_was_written_is_read_and_an_undefined_score_is_null_in_the_file(tmp_path):
    file = tmp_path / "inference" / "vspw_results.json"
    RESULTS.write(file)
    assert json.loads(file.read_text())["sem_seg"]["mVC16"] is None
    read = Results.read(file)
    assert math.isnan(read.sem_seg["mVC16"])
    read.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == file.read_text()


def test_percent_has_the_metrics_that_the_results_have_in_the_order_of_all():
    expected = {"mIoU": 12.25, "mVC8": 50.0, "mVC8_vspw": 40.0, "strict VC8": 30.0, "TA8": 20.0}
    assert {name: RESULTS.percent[name] for name in expected} == expected
    assert math.isnan(RESULTS.percent["mVC16"])
    assert RESULTS.percent["flicker"] == 100 - 90  # what strict VC of two frames lacks
    names = [metric.name for metric in METRICS]
    assert list(RESULTS.percent) == [name for name in names if name in RESULTS.percent]
    assert len(RESULTS.percent) == len(expected) + 2


def test_less_is_better_of_flicker_alone():
    assert [metric for metric in METRICS if metric.better < 0] == [FLICKER]


def test_curves_have_every_mvc_if_asked_and_classes_last():
    assert RESULTS.curves() == {"sem_seg": RESULTS.sem_seg, "temporal": {"TA8": 20.0}}
    everything = RESULTS.curves(all_vc=True)["sem_seg"]
    assert list(everything) == ["mIoU", "mVC8", "mVC16", "mVC8_vspw", "IoU-upper"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"dataset": "a"',
        '{"mIoU": 99}',
        '{"dataset": "a", "frames": 1, "scored_frames": 1, "sem_seg": {"pACC": 1.0}}',
        '{"dataset": "a", "frames": 1, "scored_frames": 1, "sem_seg": {"mIoU": "high"}}',
        '{"dataset": "a", "frames": 1, "scored_frames": 1, "sem_seg": [1.0]}',
        "[" * 100_000,
    ],
)
def test_a_file_of_something_else_is_an_error_that_names_it(tmp_path, content):
    file = tmp_path / "wrong.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"wrong\.json is damaged, or something else"):
        Results.read(file)


def test_a_file_without_what_came_later_is_read(tmp_path):
    file = tmp_path / "old.json"
    file.write_text(
        '{"dataset": "a", "frames": 1, "scored_frames": 1, "sem_seg": {"mIoU": 1.0}, "new": 2}'
    )
    assert Results.read(file).percent == {MIOU.name: 1.0}
