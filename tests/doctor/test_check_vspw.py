"""cffm check: exit statuses and what it prints and writes."""

import json
from pathlib import Path

import pytest
import warm_process
from planted_faults import K, as_16_bit, frame, mask, put_value, resize, shorten, snapshot

from cffm_plugin.cli import check

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_tool():
    """Run cffm check in this process; returns its exit status."""

    def run(*args):
        try:
            return check.main([*map(str, args)])
        except SystemExit as exit:
            return exit.code

    return run


def test_the_tool_reports_corrects_and_exits_with_1_on_errors(root, tmp_path):
    put_value(mask(root))
    as_16_bit(mask(root, "t1", 0))
    resize(mask(root, "v0"))
    result = warm_process.run(
        ["-m", "cffm_command", "check", "--dataset-root", root, "--num-classes", K, "--jobs", 2]
        + ["--json", tmp_path / "report" / "r.json", "--fix", tmp_path / "out"]
    )
    assert result.returncode == 1, result.stderr
    for part in ("mode I;16", "mask_foreign_values", "mask_size", "252 (3 pixels in 1 masks)"):
        assert part in result.stdout
    for part in ("images per second", "2 corrected mask", "1 mask(s) could not be corrected"):
        assert part in result.stdout
    content = json.loads((tmp_path / "report" / "r.json").read_text())
    assert len(content["findings"]) == 3
    assert len(snapshot(tmp_path / "out")) == 2


def test_warnings_exit_with_1_only_when_strict_and_infos_never(root, run_tool, capsys):
    common = ("--dataset-root", root, "--num-classes", K, "--jobs", 1)
    assert run_tool(*common) == 0
    assert "nothing amiss in 4 videos" in capsys.readouterr().out
    shorten(root, "v0", 16)
    assert run_tool(*common) == run_tool(*common, "--strict") == 0
    put_value(mask(root))
    assert run_tool(*common) == 0
    assert run_tool(*common, "--strict") == 1


def test_names_of_files_move_no_cursor(root, run_tool, capsys):
    frame(root).rename(frame(root).with_name("0\x1b[2J2.jpg"))
    assert run_tool("--dataset-root", root, "--num-classes", K, "--jobs", 1) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and r"origin/0\x1b[2J2.jpg" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dataset-root /nowhere/at/all", "no such folder"),
        ("--num-classes 255", "1 to 254"),
        ("--num-classes 0", "1 to 254"),
        ("--split val val", "none twice"),
        ("--fix corrected", "never written in place"),
        ("--jobs 0", "at least 1"),
        ("--max-megapixels 0", "above 0"),
        ("--what", "unrecognized"),
        ("--dataset camvid_val", "takes no --dataset-root"),
        ("--video-folders a.yaml", "name those to check with --dataset"),
    ],
)
def test_wrong_usage_exits_with_2(root, run_tool, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(root)
    assert run_tool("--dataset-root", root, *arguments.split()) == 2
    assert message in capsys.readouterr().err
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))  # where it looks by default
    assert run_tool() == 2
    assert f"{root}/vspw/VSPW_480p: there is no such folder" in capsys.readouterr().err


@pytest.mark.usefixtures("forget_datasets")
def test_datasets_of_a_yaml_file_are_checked_by_name(root, tmp_path, run_tool, capsys):
    (tmp_path / "mine.yaml").write_text(
        """
cffm_test_doctor_yaml:
  root: VSPW
  classes: [a, b, c, d]
  is_train: true
  videos: train.txt
  frames: "data/{video}/origin/{frame}.jpg"
  masks: "data/{video}/mask/{frame}.png"
  label_mapping: {1: a, 2: b, 3: c, 4: d}
  void: [0, 255]
"""
    )
    arguments = ("--video-folders", tmp_path / "mine.yaml", "--dataset", "cffm_test_doctor_yaml")
    assert run_tool(*arguments, "--jobs", 1, "--strict") == 0
    assert "nothing amiss in 2 videos of cffm_test_doctor_yaml" in capsys.readouterr().out
    put_value(mask(root))
    assert run_tool(*arguments, "--jobs", 1, "--fix", tmp_path / "out") == 0
    assert "t0/mask/00000002.png: 252 (3 pixels in 1 masks)" in capsys.readouterr().out
    assert list(map(str, snapshot(tmp_path / "out"))) == ["t0/mask/00000002.png"]
    assert run_tool("--dataset", "cffm_test_doctor_other") == 2
    assert 'there is no dataset "' in capsys.readouterr().err
