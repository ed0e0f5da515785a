"""Signals become an orderly end, or a note of it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from fresh_process import ROOT

from cffm_plugin.files import whole_file
from cffm_plugin.stopping import STOP_SIGNALS, Stopped, stops_noted, stops_raised


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_unwinds_the_stack_and_the_exit_code_is_the_shells(number, tmp_path, capsys):
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    stopped = pytest.raises(Stopped)
    with stopped as error, stops_raised("Call it again."), whole_file(tmp_path / "a") as partial:
        partial.write_text("half")
        signal.raise_signal(number)
    assert error.value.code == 128 + number and error.value.signal is number
    assert os.listdir(tmp_path) == []
    assert f"Stopped by {number.name}. Call it again." in capsys.readouterr().err
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


@pytest.mark.parametrize("number", [signal.SIGINT, *STOP_SIGNALS])
def test_the_first_signal_is_noted_and_the_second_is_not_waited_for(number):
    with pytest.raises((KeyboardInterrupt, Stopped)), stops_noted() as stopped_by:
        assert stopped_by() is None
        signal.raise_signal(number)
        assert stopped_by() is number
        signal.raise_signal(number)


def test_handlers_of_before_are_back_after_a_noted_signal():
    numbers = (signal.SIGINT, *STOP_SIGNALS)
    before = [signal.getsignal(number) for number in numbers]
    with stops_noted():
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in numbers] == before


def test_outside_the_main_thread_nothing_changes():
    found = []

    def run():
        with stops_raised(), stops_noted() as stopped_by:
            found.append((signal.getsignal(signal.SIGTERM), stopped_by()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(before, None)]


def test_processes_that_were_started_are_stopped_too(tmp_path):
    """One that is started anew, with a handler of its own; and a fork, with that of its parent."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, os, sys, time
            from pathlib import Path
            from stopping import stops_raised

            def work(folder, name):
                with stops_raised():
                    try:
                        Path(folder, f"{name}.up").write_text(str(os.getpid()))
                        time.sleep(60)
                    finally:
                        Path(folder, f"{name}.down").touch()

            def sleep(folder):
                Path(folder, "fork.up").write_text(str(os.getpid()))
                time.sleep(60)

            if __name__ == "__main__":
                with stops_raised("Parent."):
                    spawn = multiprocessing.get_context("spawn")
                    fork = multiprocessing.get_context("fork")
                    spawned = spawn.Process(target=work, args=(sys.argv[1], "spawned"))
                    forked = fork.Process(target=sleep, args=(sys.argv[1],), daemon=True)
                    spawned.start(), forked.start()
                    spawned.join()
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, script, tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "cffm_plugin")},
    )
    wait_for(lambda: all((tmp_path / f"{name}.up").exists() for name in ("spawned", "fork")))
    wait_for(lambda: (tmp_path / "spawned.up").read_text() and (tmp_path / "fork.up").read_text())
    children = [int((tmp_path / f"{name}.up").read_text()) for name in ("spawned", "fork")]
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143 and "Stopped by SIGTERM. Parent." in errors
    assert (tmp_path / "spawned.down").exists()
    for child in children:
        wait_for(lambda child=child: not os.path.exists(f"/proc/{child}"))


def wait_for(condition, seconds=120):
    waiting = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        waiting.wait(0.05)
    raise AssertionError("waited too long")
