"""The command line of reports, what it finds in folders, and training curves."""

import json
import logging
import math
import os
import shutil
import sys

import numpy as np
import pytest
from fresh_process import run_without
from tiny_predictions import moving_boxes, noisy, write_labels, write_masks

from cffm_plugin.cli.report import main
from cffm_plugin.report import find_model
from cffm_plugin.report.curves import HEIGHT, WIDTH, charts, read_curves
from cffm_plugin.results import Results

NUM_CLASSES = 4


@pytest.fixture
def runs(tmp_path):
    """A dataset, and two output folders of evaluations with predictions of it."""
    truth = moving_boxes(10)
    root = write_masks(tmp_path / "dataset", {"v": truth, "w": truth})
    folders = []
    for n in range(2):
        labels = noisy(truth, 0.1 + n / 10, NUM_CLASSES, n)
        run = tmp_path / f"run{n}"
        write_labels(run / "inference" / "result_submission", {"v": labels, "w": labels})
        config = {"MODEL": {"WEIGHTS": f"start{n}.pth", "DEVICE": "cpu"}, "SEED": 1}
        (run / "config.yaml").write_text(json.dumps(config))
        (run / "metrics.json").write_text('{"iteration": 0, "total_loss": 2.0}\n' * 2)
        (run / "model_final.pth").write_bytes(b"weights")
        folders.append(run)
    return root, folders


def arguments(runs, *more):
    root, folders = runs
    dataset = ["--dataset-root", root, "--split", "val", "--num-classes", NUM_CLASSES]
    predictions = [f"first={folders[0]}", folders[1]]
    return [*map(str, [*dataset, "--predictions", *predictions, "--jobs", 1, *more])]


def test_the_tool_writes_a_report_and_prints_its_path(runs, tmp_path, monkeypatch, capsys):
    output = tmp_path / "report"
    monkeypatch.setattr(sys, "argv", ["cffm", *arguments(runs, "--output", output)])
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(output / "index.html")
    page = (output / "index.html").read_text()
    written = json.loads((output / "report.json").read_text())
    assert [model["name"] for model in written["models"]] == ["first", "run1"]  # by its folder
    assert "SHA-256 " in page and "start0.pth" in page
    keys = page[page.index("Where the configs differ") :]
    assert "MODEL.WEIGHTS" in keys and "MODEL.DEVICE" not in keys  # what is alike is left out
    assert "--num-classes 4" in page  # the command


def test_missing_predictions_end_the_command_with_their_names(runs, tmp_path):
    (runs[1][1] / "inference" / "result_submission" / "w" / "00000004.png").unlink()
    with pytest.raises(SystemExit, match=r"(?s)run1.*w/00000004\.png.*--partial"):
        main(arguments(runs, "--output", tmp_path / "report"))
    main(arguments(runs, "--output", tmp_path / "report", "--partial"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--players", "-1"], "players must be at least 0"),
        (["--max-megabytes", "0"], "max_megabytes must be above 0"),
        (["--player-width", "3"], "player_width must be at least 16"),
    ],
)
def test_options_out_of_range_are_named(runs, tmp_path, more, message):
    with pytest.raises(SystemExit, match=message):
        main(arguments(runs, "--output", tmp_path / "report", *more))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "camvid_val", "--split", "val"], "takes no --split"),
        (["--dataset-root", "x"], "needs --split"),
        ([], "required"),
    ],
)
def test_a_report_of_no_dataset_is_refused(capsys, words, message):
    with pytest.raises(SystemExit):
        main([*words, "--predictions", "x", "--output", "y"])
    assert message in capsys.readouterr().err


def test_results_that_are_of_other_predictions_are_warned_of(runs, tmp_path, caplog):
    name = f"{runs[0] / 'val'}.txt"
    results = runs[1][0] / "inference" / "vspw_results.json"
    Results(name, frames=20, scored_frames=20, sem_seg={"mIoU": 12.5}).write(results)
    caplog.set_level(logging.WARNING)
    main(arguments(runs, "--output", tmp_path / "report"))
    assert "says mIoU 12.50, and the predictions beside it score" in caplog.text
    assert "says mIoU 12.50" in (tmp_path / "report" / "index.html").read_text()


def test_a_config_that_runs_code_is_refused(runs, tmp_path):
    harm = tmp_path / "harm"
    text = f"!!python/object/apply:os.mkdir ['{harm}']\n"
    (runs[1][0] / "config.yaml").write_text(text)
    with pytest.raises(SystemExit, match="config.yaml"):
        main(arguments(runs, "--output", tmp_path / "report"))
    assert not harm.exists()


def test_two_models_of_one_name_are_refused(runs, tmp_path):
    words = [f"same={folder}" for folder in runs[1]]
    dataset = ["--dataset-root", str(runs[0]), "--split", "val", "--num-classes", "4"]
    with pytest.raises(SystemExit, match="Two models are called same"):
        main([*dataset, "--predictions", *words, "--output", str(tmp_path / "report")])


def test_without_jinja2_the_report_says_how_to_get_it():
    result = run_without(
        ["jinja2"],
        """
        from cffm_plugin.report import make_report, ReportedModel
        from pathlib import Path
        make_report(None, [ReportedModel("m", Path("."))], "report")
        """,
    )
    assert result.returncode != 0
    assert "Making a report needs jinja2" in result.stderr
    assert "pip install jinja2" in result.stderr


# --- Folders of models ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    ["inference/result_submission", "inference/mine_val/result_submission", "result_submission"],
)
def test_predictions_are_found_in_the_folder_of_a_run(tmp_path, layout):
    (tmp_path / "run" / layout / "v").mkdir(parents=True)
    model = find_model(f"name={tmp_path / 'run'}", "mine_val")
    assert (model.name, model.predictions) == ("name", tmp_path / "run" / layout)
    assert model.run == (tmp_path / "run" if layout.startswith("inference") else None)
    same = find_model(str(tmp_path / "run" / layout), "mine_val")
    assert same.run == model.run


def test_a_folder_of_pngs_is_a_model_named_after_it(tmp_path):
    (tmp_path / "a=b" / "v").mkdir(parents=True)  # a folder's name may hold "="
    model = find_model(str(tmp_path / "a=b"), "")
    assert (model.name, model.predictions, model.run) == ("a=b", tmp_path / "a=b", None)


def test_a_run_without_predictions_says_what_to_set(tmp_path):
    (tmp_path / "metrics.json").touch()
    with pytest.raises(ValueError, match="saved no predictions.*TEST.SAVE_PREDICTIONS True"):
        find_model(f"m={tmp_path}", "mine_val")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        find_model(f"m={tmp_path / 'nowhere'}", "")
    with pytest.raises(ValueError, match="expected NAME=FOLDER"):
        find_model("=x", "")


# --- Training curves ------------------------------------------------------------------------


def write_metrics(file, rows):
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return file


def test_curves_are_what_metrics_json_says_and_the_later_line_counts(tmp_path):
    rows = [
        {"iteration": 19, "total_loss": 4.0, "lr": 0.1, "time": 3.0},
        {"iteration": 39, "total_loss": 3.0, "loss_video": 1.0},
        {"iteration": 39, "total_loss": 2.0, "loss_video": 0.5},  # of a resumed training
        {"iteration": 39, "sem_seg/mIoU": 50.0, "sem_seg/IoU-road": 90.0},
    ]
    curves = read_curves(write_metrics(tmp_path / "metrics.json", rows))
    assert curves == {
        "total_loss": [(19, 4.0), (39, 2.0)],
        "lr": [(19, 0.1)],
        "loss_video": [(39, 0.5)],
        "sem_seg/mIoU": [(39, 50.0)],
    }


def test_damaged_lines_are_counted_in_a_warning(tmp_path, caplog):
    file = tmp_path / "metrics.json"
    file.write_text('{"iteration": 1, "total_loss": 1.0}\n[1]\n{"iteration": 2, "total_lo')
    assert read_curves(file) == {"total_loss": [(1, 1.0)]}
    assert "2 line(s) are no JSON object" in caplog.text


def test_a_chart_has_the_lines_of_the_models_that_have_the_quantity():
    first = {"total_loss": [(0, 4.0), (50, math.nan), (100, 2.0)], "lr": [(0, 1.0), (100, 0.0)]}
    second = {"total_loss": [(0, 3.0), (200, 1.0)]}
    loss, rate = charts([first, second])
    assert (loss.title, loss.low, loss.high, loss.last) == ("total_loss", 1.0, 4.0, 200)
    # From the top left corner; a gap where it is not finite; iteration 100 of 200, 2 of 1 to 4.
    y = HEIGHT * (4 - 2) / 3
    assert loss.lines[0] == f"M0.0 0.0M{WIDTH / 2:.1f} {y:.1f}"
    assert loss.lines[1] == f"M0.0 {HEIGHT / 3:.1f}L{WIDTH:.1f} {HEIGHT:.1f}"
    assert loss.ends == {0: 2.0, 1: 1.0}
    assert list(rate.lines) == [0]


def test_a_single_value_makes_no_chart():
    assert charts([{"total_loss": [(0, 1.0)]}, {}]) == []


def test_a_long_curve_keeps_its_end():
    curve = [(i, float(np.sin(i))) for i in range(5000)]
    (chart,) = charts([{"total_loss": curve}])
    assert len(chart.lines[0]) < 6000
    assert chart.lines[0].rsplit("L", 1)[-1].startswith(f"{WIDTH:.1f} ")


def test_a_run_that_was_moved_is_reported_where_it_is(runs, tmp_path):
    moved = shutil.move(runs[1][0], tmp_path / "moved")
    model = find_model(f"m={os.path.relpath(moved)}", "")
    assert model.run == tmp_path / "moved"
