"""Means, spreads and paired differences of runs, as Markdown and as JSON."""

import json
import math
import statistics

import pytest

from cffm_plugin.experiments import METRICS, Comparison, RunResult, read_results
from cffm_plugin.files import write_json

VALUES = {"image": {1: 50.0, 2: 52.0, 3: 51.0}, "video": {1: 51.0, 2: 52.5, 3: 53.0}}


def make_result(miou, **more):
    return RunResult({"val": dict.fromkeys(METRICS, math.nan) | {"mIoU": miou, **more}})


@pytest.fixture
def comparison():
    results = {
        (model, seed): make_result(value)
        for model, of_seeds in VALUES.items()
        for seed, value in of_seeds.items()
    }
    return Comparison(["image", "video"], [1, 2, 3], results)


def test_differences_are_taken_seed_by_seed(comparison):
    assert comparison.differences("video", "val", "mIoU") == {1: 1.0, 2: 0.5, 3: 2.0}
    summary = comparison.as_json()["summary"]["val"]["video"]["mIoU"]["difference"]
    assert summary["mean"] == pytest.approx(3.5 / 3)
    assert summary["std"] == pytest.approx(statistics.stdev([1.0, 0.5, 2.0]))
    assert summary["min"] == 0.5


def test_tables_show_mean_spread_and_the_worst_seed(comparison):
    text = comparison.markdown()
    assert "51.00 ± 1.00" in text and "52.17 ± 1.04" in text
    assert "+1.17 ± 0.76 (+0.50)" in text


def test_undefined_scores_are_a_dash_and_null(comparison, tmp_path):
    row = next(r for r in comparison.markdown().splitlines() if r.startswith("| image"))
    assert [cell.strip() for cell in row.split("|")[3:-1]] == ["-"] * (len(METRICS) - 1)
    write_json(tmp_path / "comparison.json", comparison.as_json())
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["runs"][0]["scores"]["val"]["mVC8"] is None


def test_a_seed_that_a_model_lacks_is_in_no_difference(comparison):
    del comparison.results["image", 3]
    assert comparison.differences("video", "val", "mIoU") == {1: 1.0, 2: 0.5}
    assert comparison.values("video", "val", "mIoU").keys() == {1, 2, 3}


def test_a_single_seed_has_no_spread():
    text = Comparison(["image"], [1], {("image", 1): make_result(50.0)}).markdown()
    assert "50.00" in text and "±" not in text


def test_a_folder_without_results_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="vspw_results.json.*DATASETS.TEST"):
        read_results(tmp_path)
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "vspw_results.json").write_text('{"dataset": "a"')
    with pytest.raises(ValueError, match=r"vspw_results\.json is damaged"):
        read_results(tmp_path)
