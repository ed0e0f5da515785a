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
        for name in list(self._bars):
            self._close(name)

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
        self._close(run.name)

    def _close(self, name: str) -> None:
        bar = self._bars.pop(name, None)
        if bar is not None:
            bar.close()

    def _count(self) -> str:
        done = sum(run.seconds() is not None for run in self._runs)
        return f"[{done}/{len(self._runs)}]"

    def _eta(self) -> str:
        """ ", ETA 1:02:03", or nothing where it can't be known yet."""
        left = 0.0
        jobs = max(1, len(self._started))
        unfinished = [run for run in self._runs if run.seconds() is None]
        for run in unfinished:
            expected = self._expected(run)
            if expected is None:
                if run.eval_only and not all(other.eval_only for other in unfinished):
                    continue  # next to a training an evaluation is nothing
                return ""
            spent = time.perf_counter() - self._started.get(run.name, time.perf_counter())
            left += max(0.0, expected - spent)
        return f", ETA {_duration(left / jobs)}"

    def _expected(self, run: "Run") -> float | None:
        """Seconds that a run takes, by what others of its kind took for each of their steps."""
        if (so_far := self._seconds_per_step(run)) is not None:
            return so_far * max(1, self._steps[run.name])
        other_seconds = [
            cost
            for other in self._runs
            if other.eval_only == run.eval_only
            and (cost := self._seconds_per_step(other)) is not None
        ]
        if not other_seconds:
            return None
        return sum(other_seconds) / len(other_seconds) * max(1, self._steps[run.name])

    def _seconds_per_step(self, run: "Run") -> float | None:
        """Of a finished run, or of one that is under way and has done some."""
        if (seconds := run.seconds()) is not None:
            return seconds / max(1, self._steps[run.name])
        if run.name in self._started and (done := run.steps_done()):
            return (time.perf_counter() - self._started[run.name]) / done
        return None


def print_line(line: str) -> None:
    """Above the bars, and at once."""
    tqdm.write(line)
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
