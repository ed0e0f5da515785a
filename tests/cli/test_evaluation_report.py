"""TEST.REPORT: a report after `cffm train`, and what is said where there can't be one."""

import json
import signal

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser

from cffm_plugin.cli.report import main as make_report
from cffm_plugin.cli.work.train import train
from cffm_plugin.engine import STOPPED


@pytest.fixture
def cfg(tiny_cffm_cfg, tmp_path):
    tiny_cffm_cfg.MODEL.WEIGHTS = ""
    tiny_cffm_cfg.SOLVER.MAX_ITER = 4
    tiny_cffm_cfg.DATALOADER.NUM_WORKERS = 0
    tiny_cffm_cfg.OUTPUT_DIR = str(tmp_path / "output")
    return tiny_cffm_cfg


@pytest.fixture
def arguments(cfg, tmp_path):
    """Of a training of four steps, and of its evaluation; a function of further keys."""
    file = tmp_path / "config.yaml"
    file.write_text(cfg.dump())

    def parsed(*words):
        return default_argument_parser().parse_args(["--config-file", str(file), *words])

    return parsed


def numbers_in(folder):
    results = json.loads((folder / "inference" / "vspw_results.json").read_text())["sem_seg"]
    report = json.loads((folder / "report" / "report.json").read_text())["summary"]
    return results, report


def test_training_and_evaluation_end_with_a_report_of_their_scores(
    arguments, cfg, tmp_path, caplog
):
    keys = ["TEST.SAVE_PREDICTIONS", "True", "TEST.REPORT", "True", "TEST.REPORT_PLAYERS", "1"]
    train(arguments(*keys))
    output = tmp_path / "output"
    results, report = numbers_in(output)
    for metric in ("mIoU", "pACC", "mVC8"):
        assert report[metric] == [results[metric]]
    page = (output / "report" / "index.html").read_text()
    assert "model_final.pth" in page and "config.yaml" in page  # of its training
    assert page.count('"perSheet"') == 2  # the worst and the best of two videos
    weights = ["MODEL.WEIGHTS", str(output / "model_final.pth")]
    evaluated = ["OUTPUT_DIR", str(tmp_path / "evaluated")]
    train(arguments("--eval-only", *keys, *weights, *evaluated))
    assert numbers_in(tmp_path / "evaluated") == (results, report)


def test_each_of_several_datasets_has_its_report(arguments, cfg, tmp_path):
    DatasetCatalog.register("tiny_again", DatasetCatalog[cfg.DATASETS.TEST[0]])
    metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0]).as_dict() | {"name": "tiny_again"}
    MetadataCatalog.get("tiny_again").set(**metadata)
    try:
        datasets = ["DATASETS.TEST", f"('{cfg.DATASETS.TEST[0]}', 'tiny_again')"]
        keys = ["TEST.SAVE_PREDICTIONS", "True", "TEST.REPORT", "True", "SOLVER.MAX_ITER", "1"]
        train(arguments(*keys, *datasets))
    finally:
        DatasetCatalog.remove("tiny_again")
        MetadataCatalog.remove("tiny_again")
    for name in (cfg.DATASETS.TEST[0], "tiny_again"):
        assert (tmp_path / "output" / "report" / name / "index.html").is_file()


def test_a_report_without_saved_predictions_is_refused_before_training(arguments, tmp_path):
    with pytest.raises(ValueError, match="Set TEST.SAVE_PREDICTIONS True as well"):
        train(arguments("TEST.REPORT", "True"))
    assert not (tmp_path / "output").exists()


def test_a_signal_while_the_report_is_made_ends_as_one_while_training(
    arguments, tmp_path, monkeypatch
):
    def asked_to_stop(reports):
        signal.raise_signal(signal.SIGUSR1)
        pytest.fail("the report went on")

    monkeypatch.setattr("cffm_plugin.cli.work.train.EvaluationReports.make", asked_to_stop)
    with pytest.raises(SystemExit) as stopped:
        train(arguments("SOLVER.MAX_ITER", "1"))
    assert stopped.value.code == STOPPED
    assert (tmp_path / "output" / "model_final.pth").is_file()


def test_the_command_in_the_log_makes_the_report(arguments, cfg, tmp_path):
    keys = ["TEST.SAVE_PREDICTIONS", "True", "SOLVER.MAX_ITER", "1"]
    train(arguments(*keys))
    log = (tmp_path / "output" / "log.txt").read_text()
    (line,) = [line for line in log.splitlines() if "A report on" in line]
    words = line.partition("cffm report ")[2].split()
    make_report([*words, "--jobs", "1"])
    assert (tmp_path / "output" / "report" / "index.html").is_file()


def test_an_evaluation_without_predictions_says_what_makes_a_report(arguments, tmp_path):
    train(arguments("SOLVER.MAX_ITER", "1"))
    log = (tmp_path / "output" / "log.txt").read_text()
    assert "TEST.SAVE_PREDICTIONS True TEST.REPORT True" in log
