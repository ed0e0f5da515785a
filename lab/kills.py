"""Trainings that are killed and resumed: do they end in the bits of one that was left alone?"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_POLL_SECONDS = 0.0002  # a checkpoint of a small model is written in a few milliseconds
_PARTIAL = ".model_*.partial.pth"


@dataclass(frozen=True)
class Kill:
    """What became of a training that was killed once.

    Attributes:
        seed: of the moment.
        moment: when it was killed, in words.
        left_partial: whether a checkpoint was being written.
        resumed_from: the newest checkpoint that was there; "" for none.
        difference: the first thing in the final checkpoint that is not the same; "" for none.
    """

    seed: int
    moment: str
    left_partial: bool
    resumed_from: str
    difference: str


@dataclass(frozen=True)
class Training:
    """Commands of one training, in any folder.

    Attributes:
        command: Python's arguments for a training, without OUTPUT_DIR.
        folder: of this training.
    """

    command: tuple[str, ...]
    folder: Path

    def start(self) -> subprocess.Popen:
        """Start it, or go on with it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "run.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, *self.command, "OUTPUT_DIR", str(self.folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that all its processes can be killed
            )

    def finish(self) -> None:
        """
        Raises:
            RuntimeError: it failed.
        """
        code = self.start().wait()
        if code:
            raise RuntimeError(f"The training failed ({code}): see {self.folder / 'run.log'}")

    def final(self) -> dict[str, Any]:
        """Its last checkpoint, but for what names its folder."""
        path = self.folder / "model_final.pth"
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return {key: loaded[key] for key in ("model", "trainer", "iteration")}


def kill_and_resume(training: Training, reference: Training, seed: int, seconds: float) -> Kill:
    """Kill a training at a random moment, resume it to its end, and compare.

    Every other seed kills it while a checkpoint is written.

    Args:
        training: in an empty folder.
        reference: which has ended and was left alone.
        seed: decides the moment.
        seconds: how long the reference took.
    """
    draw = random.Random(seed)
    process = training.start()
    if seed % 2:
        moment = _wait_for_a_write(process, training.folder, draw)
    else:
        moment = f"after {_wait(process, draw.uniform(0.2, 1.0) * seconds):.2f} s"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        moment += ", when it had ended"
    process.wait()
    left_partial = any(training.folder.glob(_PARTIAL))
    last = training.folder / "last_checkpoint"
    resumed_from = last.read_text(encoding="utf-8") if last.exists() else ""
    training.finish()
    difference = first_difference(training.final(), reference.final())
    return Kill(seed, moment, left_partial, resumed_from, difference)


def first_difference(ours: Any, theirs: Any, name: str = "checkpoint") -> str:
    """Where two nested containers of tensors and plain values differ, to the bit; "" if nowhere."""
    if type(ours) is not type(theirs):
        return name
    if isinstance(ours, torch.Tensor):
        same = ours.shape == theirs.shape and torch.equal(_bits(ours), _bits(theirs))
        return "" if same else name
    if isinstance(ours, list | tuple):
        ours, theirs = dict(enumerate(ours)), dict(enumerate(theirs))
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return name
        found = (first_difference(ours[key], theirs[key], f"{name}.{key}") for key in ours)
        return next(filter(None, found), "")
    return "" if ours == theirs else name


def kills_table(kills: Sequence[Kill]) -> str:
    """In Markdown."""
    rows = [
        "| seed | killed | in a write | resumed from | at the end |",
        "|---|---|---|---|---|",
    ]
    for kill in kills:
        end = f"differs: {kill.difference}" if kill.difference else "the same bits"
        is_in_a_write = "yes" if kill.left_partial else "no"
        start = kill.resumed_from or "the start"
        rows.append(f"| {kill.seed} | {kill.moment} | {is_in_a_write} | {start} | {end} |")
    return "\n".join(rows)


def _wait(process: subprocess.Popen, seconds: float) -> float:
    """Sleep, or until the process has ended."""
    start = time.monotonic()
    while time.monotonic() - start < seconds and process.poll() is None:
        time.sleep(min(0.01, seconds))
    return time.monotonic() - start


def _wait_for_a_write(process: subprocess.Popen, folder: Path, draw: random.Random) -> str:
    """Wait until one of the first checkpoints is being written, and some milliseconds more."""
    number, pause = draw.randint(1, 6), draw.uniform(0, 0.004)
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {file.name for file in folder.glob(_PARTIAL)}
        if len(seen) >= number:
            time.sleep(pause)
            break
        time.sleep(_POLL_SECONDS)
    return f"{1000 * pause:.1f} ms into write {number}"


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """As bytes, so that a NaN is like itself and -0 is not like 0."""
    return tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor
