"""Commands that train or evaluate, run a few at a time, so that all can be stopped and resumed."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import flat_values, load_config
from ..files import write_json
from ..training_metrics import METRICS_FILE, read_metrics
from .progress import Progress, print_line

# Python's arguments for the commands that runs are made of, also where there is no tools/. Not the
# working directory but the installed package is what they import (-P).
TRAIN: tuple[str, ...] = ("-P", "-m", "cffm_command", "train")
SYNTHETIC: tuple[str, ...] = ("-P", "-m", "cffm_command", "synthetic")

_POLL_SECONDS = 0.3
_LINES_OF_A_FAILURE = 15
RECORD = "run.json"


@dataclass(frozen=True)
class Run:
    """One call of `cffm train`, with its log and its results in one folder.

    Attributes:
        name: what the run is called in messages.
        folder: its OUTPUT_DIR.
        script: Python's arguments for the command, ``TRAIN`` or those of a script with its flags.
        config_file: a YAML file, or the name of a shipped one.
        overrides: a flat sequence ``(KEY, VALUE, ...)``.
        flags: further ones of the script, such as ``("--num-gpus", "4")``.
        eval_only: evaluate, do not train.
        needs: runs that must be done first.
    """

    name: str
    folder: Path
    script: tuple[str, ...]
    config_file: str
    overrides: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    eval_only: bool = False
    needs: tuple["Run", ...] = ()

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    def command(self) -> list[str]:
        """What is run: it goes on where it was stopped, if a checkpoint was written."""
        return [
            *(sys.executable, *self.script, "--config-file", self.config_file),
            "--eval-only" if self.eval_only else "--resume",
            *self.flags,
            *self.overrides,
            *("OUTPUT_DIR", str(self.folder)),
        ]

    def config(self) -> dict[str, Any]:
        """The keys and values that the run has, flat."""
        cfg = load_config(self.config_file, [*self.overrides, "OUTPUT_DIR", str(self.folder)])
        return flat_values(cfg)

    def seconds(self) -> float | None:
        """How long it took, None if it has not finished."""
        record = self._record()
        return None if record is None else record["seconds"]

    def check(self) -> None:
        """
        Raises:
            ValueError: the folder holds a run with another config.
        """
        record = self._record()
        if record is None:
            return
        before, now = record["config"], self.config()
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if keys:
            changes = "\n".join(f"  {k}: {before.get(k)} there, {now.get(k)} now" for k in keys)
            raise ValueError(
                f"{self.folder} holds a run with another config:\n{changes}\n"
                "Choose another output folder, or remove this one to run it anew."
            )

    def write_record(self, seconds: float | None) -> None:
        """Note the config, and how long the run took once it has finished."""
        record = {"command": self.command(), "config": self.config(), "seconds": seconds}
        write_json(self.folder / RECORD, record)

    def _record(self) -> dict[str, Any] | None:
        file = self.folder / RECORD
        if not file.exists():
            return None
        try:
            record = json.loads(file.read_text())
            return {"config": record["config"], "seconds": record["seconds"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} is damaged: expected what a run leaves there. Remove the folder to run it "
                "anew."
            ) from error

    def steps(self) -> int:
        """Of training, 0 of an evaluation."""
        if self.eval_only:
            return 0
        return int(self.config()["SOLVER.MAX_ITER"])

    def steps_done(self) -> int:
        """Steps that a training has written of."""
        file = self.folder / METRICS_FILE
        if self.eval_only or not file.exists():
            return 0
        rows, _ = read_metrics(file, last=3)  # one of these may be half written
        return rows[-1]["iteration"] + 1 if rows else 0


@dataclass
class _Running:
    run: Run
    process: subprocess.Popen
    started: float = field(default_factory=time.perf_counter)


def run_all(
    runs: Sequence[Run],
    *,
    jobs: int = 1,
    environment: dict[str, str] | None = None,
    say: Callable[[str], None] = print_line,
) -> list[Run]:
    """Do what is not done yet, ``jobs`` at a time, and say what is running and how long it takes.

    Args:
        runs: each after those that it needs.
        jobs: processes at a time.
        environment: of the processes; by default this one's.
        say: prints a line.

    Returns:
        the runs that failed or that needed one that failed; their logs' ends were said.

    Raises:
        ValueError: a folder holds a run with another config, or its record is damaged.
        KeyboardInterrupt: after all processes have been stopped.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    for run in runs:
        run.check()
    waiting = [run for run in runs if run.seconds() is None]
    failed: list[Run] = []
    running: list[_Running] = []
    with Progress(runs, say) as progress:
        try:
            while waiting or running:
                _drop_hopeless(waiting, failed, say)
                while len(running) < jobs and (ready := _next(waiting)) is not None:
                    waiting.remove(ready)
                    running.append(_start(ready, environment))
                    progress.started(ready)
                time.sleep(_POLL_SECONDS)
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    _finish(job, failed, progress, say)
                progress.update()
        except BaseException:
            for job in running:
                job.process.terminate()
            for job in running:
                job.process.wait()
            raise
    return failed


def _next(waiting: Sequence[Run]) -> Run | None:
    return next((r for r in waiting if all(n.seconds() is not None for n in r.needs)), None)


def _drop_hopeless(waiting: list[Run], failed: list[Run], say: Callable[[str], None]) -> None:
    for run in list(waiting):
        cause = next((need for need in run.needs if need in failed), None)
        if cause is not None:
            waiting.remove(run)
            failed.append(run)
            say(f"{run.name}: not run, it needs {cause.name}")


def _start(run: Run, environment: dict[str, str] | None) -> _Running:
    run.write_record(None)
    command = run.command()
    with run.log.open("a") as log:
        log.write(f"{shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    return _Running(run, process)


def _finish(
    job: _Running, failed: list[Run], progress: Progress, say: Callable[[str], None]
) -> None:
    seconds = time.perf_counter() - job.started
    if job.process.returncode == 0:
        job.run.write_record(seconds)
        progress.finished(job.run, seconds)
        return
    failed.append(job.run)
    progress.dropped(job.run)
    end = job.run.log.read_text(errors="replace").splitlines()[-_LINES_OF_A_FAILURE:]
    say("\n".join(end))
    say(f"{job.run.name} failed with exit code {job.process.returncode}, see {job.run.log}")
