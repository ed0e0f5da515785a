"""Runs: in order, a few at a time, resumed where they were stopped, and told."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from cffm_plugin.experiments import Run, run_all
from cffm_plugin.stopping import Stopped, stops_raised

# In place of train_net.py: writes what a training writes, notes when it ran, and fails if asked.
SCRIPT = """
import json, pathlib, sys, time
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("OUTPUT_DIR") + 1])
name = "/".join(folder.parts[-2:])
notes = folder.parents[1] / "notes.txt"
with notes.open("a") as file:
    file.write(f"start {name}\\n")
if (folder.parents[1] / "broken").exists():
    sys.exit("Something is amiss")
(folder / "metrics.json").write_text(json.dumps({"iteration": 9, "time": 0.5}) + "\\n")
time.sleep(1)
with notes.open("a") as file:
    file.write(f"end {name}\\n")
"""


@pytest.fixture
def make_run(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    config = tmp_path / "config.yaml"
    config.write_text("SOLVER: {OPTIMIZER: AdamW, MAX_ITER: 10}\nVERSION: 2\n")

    def make(name, *overrides, **options):
        return Run(name, tmp_path / "out" / name, (str(script),), str(config), overrides, **options)

    (tmp_path / "out").mkdir()
    return make


@pytest.fixture
def notes(tmp_path):
    return lambda: (tmp_path / "notes.txt").read_text().split("\n")[:-1]


def test_runs_wait_for_those_that_they_need_and_no_more_than_asked_run_at_once(make_run, notes):
    first = make_run("first")
    others = [make_run(name, needs=(first,)) for name in ("a", "b", "c")]
    assert run_all([first, *others], jobs=2) == []
    assert notes()[:2] == ["start out/first", "end out/first"]
    running = most = 0
    for note in notes()[2:]:
        running += 1 if note.startswith("start") else -1
        most = max(most, running)
    assert most == 2 and len(notes()) == 8


def test_a_signal_stops_what_is_running_and_the_next_call_goes_on(make_run, notes):
    runs = [make_run("a"), make_run("b")]
    send = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    send.start()
    with pytest.raises(Stopped), stops_raised():
        run_all(runs, jobs=2)
    send.join()
    time.sleep(1)
    assert not any(note.startswith("end") for note in notes())
    assert run_all(runs, jobs=2) == []
    assert sorted(note for note in notes() if note.startswith("end")) == ["end out/a", "end out/b"]


def test_what_is_finished_is_not_done_again(make_run, notes, capsys):
    runs = [make_run("a"), make_run("b")]
    run_all(runs[:1])
    run_all(runs)
    assert [note for note in notes() if note.startswith("start")] == ["start out/a", "start out/b"]
    assert "1 of 2 runs are there already" in capsys.readouterr().out
    assert all(run.seconds() >= 1 for run in runs)


def test_a_failure_is_told_with_the_end_of_its_log_and_done_anew_the_next_time(
    make_run, notes, tmp_path, capsys
):
    broken = tmp_path / "broken"
    broken.touch()
    first, last = make_run("first"), make_run("last")
    needing = make_run("needing", needs=(first,))
    assert run_all([first, needing, last]) == [first, needing, last]
    said = capsys.readouterr().out
    assert "Something is amiss" in said and f"see {first.log}" in said
    assert "needing: not run, it needs first" in said
    broken.unlink()
    assert run_all([first, needing, last]) == []
    assert notes()[-6:].count("end out/needing") == 1


def test_a_folder_of_another_config_is_left_alone(make_run, notes):
    run_all([make_run("a", "SEED", "1")])
    with pytest.raises(ValueError, match=r"another config:\n  SEED: 1 there, 2 now"):
        run_all([make_run("a", "SEED", "2")])
    assert len(notes()) == 2


def test_a_damaged_record_is_an_error_with_its_name(make_run):
    run = make_run("a")
    run_all([run])
    (run.folder / "run.json").write_text('{"seconds": 3')
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        run_all([run])


def test_without_a_terminal_there_is_a_line_per_run_with_the_time_that_is_left(make_run):
    lines = []
    run_all([make_run("a"), make_run("b")], say=lines.append)
    assert [line.split(" (")[0].split(" done")[0] for line in lines] == [
        "[0/2] a",
        "[1/2] a",
        "[1/2] b",
        "[2/2] b",
    ]
    assert ", ETA 0:00:0" in lines[1]


def test_on_a_terminal_there_is_a_bar_per_run(make_run, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run_all([make_run("a"), make_run("b")])
    bars = capsys.readouterr().err
    assert "[0/2] a" in bars and "10/10" in bars and "step" in bars


def test_a_record_says_by_what_command_a_run_was_made(make_run):
    run = make_run("a", "SEED", "7")
    run_all([run])
    record = json.loads((run.folder / "run.json").read_text())
    assert record["command"] == run.command() and record["config"]["SEED"] == 7
    assert record["command"][2:4] == ["--config-file", run.config_file]


def test_no_runs_at_a_time_is_an_error(make_run):
    with pytest.raises(ValueError, match="jobs must be at least 1"):
        run_all([make_run("a")], jobs=0)
