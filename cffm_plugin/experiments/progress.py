"""What is running and how long it takes: bars on a terminal, a line per run where there is none."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from .runs import Run


class Progress:
    """Tells how runs are getting on. A context manager, which leaves no bar behind.

    Args:
        runs: all of them, finished ones too.
        say: prints a line.
    """

    def __init__(self, runs: "Sequence[Run]", say: Callable[[str], None]):
        self._runs = list(runs)
        self._say = say
        self._on_terminal = sys.stderr.isatty()
        self._started: dict[str, float] = {}
        self._bars: dict[str, Any] = {}
        self._steps = {run.name: run.steps() for run in runs}

    def __enter__(self) -> "Progress":
        done = [run for run in self._runs if run.seconds() is not None]
        if done:
            self._say(f"{len(done)} of {len(self._runs)} runs are there already")
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def started(self, run: "Run") -> None:
        self._started[run.name] = time.perf_counter()
        if not self._on_terminal:
            self._say(f"{self._count()} {run.name} ({run.log}){self._eta()}")
            return
        places = {bar.pos for bar in self._bars.values()}
        self._bars[run.name] = tqdm(
            total=self._steps[run.name] or None,
            desc=f"{self._count()} {run.name}",
            unit="step",
            position=next(i for i in range(len(places) + 1) if -i not in places),
            leave=False,
            dynamic_ncols=True,
        )

    def update(self) -> None:
        """Bring the bars up to date."""
        for run in self._runs:
            bar = self._bars.get(run.name)
            if bar is None:
                continue
            bar.update(min(run.steps_done(), bar.total or 0) - bar.n)
            if bar.total and bar.n == bar.total:
                bar.set_postfix_str("evaluating", refresh=False)
            elif eta := self._eta():
                bar.set_postfix_str(f"all{eta}", refresh=False)
            bar.refresh()

    def finished(self, run: "Run", seconds: float) -> None:
        self.dropped(run)
        self._say(f"{self._count()} {run.name} done in {_duration(seconds)}{self._eta()}")

    def dropped(self, run: "Run") -> None:
        """A run ended, well or not."""
        self._started.pop(run.name, None)
        if (bar := self._bars.pop(run.name, None)) is not None:
            bar.close()

    def _count(self) -> str:
        done = sum(run.seconds() is not None for run in self._runs)
        return f"[{done}/{len(self._runs)}]"

    def _eta(self) -> str:
        """ ", ETA 1:02:03", or nothing where it can't be known yet.

        By what the steps that are done took; next to a training an evaluation is nothing.
        """
        runs = [run for run in self._runs if not run.eval_only] or self._runs
        spent, done, steps, now = 0.0, 0, 0, time.perf_counter()
        for run in runs:
            of_run = max(1, self._steps[run.name])
            steps += of_run
            if (seconds := run.seconds()) is not None:
                spent, done = spent + seconds, done + of_run
            elif run.name in self._started:
                spent, done = spent + now - self._started[run.name], done + run.steps_done()
        if not done:
            return ""
        left = (steps - done) * spent / done / max(1, len(self._started))
        return f", ETA {_duration(left)}"


def print_line(line: str) -> None:
    """Above the bars, and at once."""
    tqdm.write(line)
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
