"""metrics.json: what is read of it, also while a training writes it."""

import json

import pytest
import torch

from cffm_plugin.experiments import Run
from cffm_plugin.experiments.results import read_results
from cffm_plugin.results import Results
from cffm_plugin.training_metrics import read_metrics

HALF_WRITTEN = '{"iteration": 4, "ti'


@pytest.fixture
def folder(tmp_path):
    """Of a run, its metrics ending in a line that is half written."""
    rows = [{"iteration": 1, "time": 0.5}, {"iteration": 3, "time": 1.5}]
    (tmp_path / "metrics.json").write_text("\n".join([*map(json.dumps, rows), HALF_WRITTEN]))
    return tmp_path


def test_rows_come_in_their_order_and_what_is_no_row_is_counted(folder):
    file = folder / "metrics.json"
    rows = [{"iteration": 1, "time": 0.5}, {"iteration": 3, "time": 1.5}]
    assert read_metrics(file) == (rows, 1)
    assert read_metrics(file, last=2) == (rows[1:], 1)
    file.write_text('\n[1]\n3\n{"time": 1}\n{"iteration": "a"}\n{"iteration": Infinity}\n')
    assert read_metrics(file) == ([], 5)


def test_the_progress_of_a_run_is_that_of_its_last_whole_row(folder):
    run = Run("a", folder, (), "unused")
    assert run.steps_done() == 4  # iterations 0 to 3
    (folder / "metrics.json").write_text(HALF_WRITTEN)
    assert run.steps_done() == 0
    (folder / "metrics.json").unlink()
    assert run.steps_done() == 0


def test_a_half_written_row_does_not_hide_the_results_of_a_run(folder):
    Results("val", 1, 1, {"mIoU": 50.0}).write(folder / "inference/vspw_results.json")
    torch.save({"model": {"weight": torch.zeros(3)}}, folder / "model_final.pth")
    found = read_results(folder)
    assert (found.steps, found.seconds_per_step, found.parameters) == (3, 1.0, 3)
    (folder / "metrics.json").write_text("")
    with pytest.raises(ValueError, match=r"metrics\.json is damaged"):
        read_results(folder)
