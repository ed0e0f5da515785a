"""A training has its folder for itself, and writes over nobody's checkpoints."""

import os
import subprocess
import sys

import pytest
import torch
from detectron2.engine import default_argument_parser

from cffm_plugin.engine import main
from cffm_plugin.engine.output_folder import claimed_for_training

HOLDER = """
import sys
from cffm_plugin.engine.output_folder import claimed_for_training

with claimed_for_training(sys.argv[1], resume=False):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which has claimed the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_in_a_folder_is_refused_and_told_of_the_first(holder, tmp_path, resume):
    with (
        pytest.raises(FileExistsError, match=f"Another training.*process {holder.pid} on"),
        claimed_for_training(str(tmp_path), resume=resume),
    ):
        pass


def test_a_killed_training_leaves_its_folder_free(holder, tmp_path):
    holder.kill()
    holder.wait()
    with claimed_for_training(str(tmp_path), resume=False):
        pass


def test_checkpoints_of_an_earlier_training_are_not_written_over(tmp_path):
    torch.save({}, tmp_path / "model_0000009.pth")
    with (
        pytest.raises(FileExistsError, match=r"model_0000009\.pth.*--resume"),
        claimed_for_training(str(tmp_path), resume=False),
    ):
        pass
    with claimed_for_training(str(tmp_path), resume=True):
        pass


def test_leftovers_of_a_killed_training_go_and_those_of_runs_below_stay(tmp_path):
    below = tmp_path / "another_run"
    below.mkdir()
    for folder in (tmp_path, below):
        (folder / ".model_0000009.77.partial.pth").write_text("half")
    with claimed_for_training(str(tmp_path), resume=True):
        assert [file.parent for file in tmp_path.rglob("*partial*")] == [below]


def test_a_refused_training_changes_no_file_of_the_folder(cfg):
    """Not the config, nor the log, of the run that the folder is of."""
    os.makedirs(cfg.OUTPUT_DIR)
    torch.save({}, os.path.join(cfg.OUTPUT_DIR, "model_final.pth"))
    args = default_argument_parser().parse_args(["OUTPUT_DIR", cfg.OUTPUT_DIR])
    with pytest.raises(FileExistsError, match="--resume"):
        main(args)
    assert set(os.listdir(cfg.OUTPUT_DIR)) == {"model_final.pth", "training.lock"}
