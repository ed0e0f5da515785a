"""Signals that ask a process to stop, as an orderly end: files are closed, processes follow.

SIGTERM is what schedulers and ``kill`` send, SIGUSR1 what SLURM may send before (--signal=USR1).
By default both end Python on the spot.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

_NAMES = ("SIGTERM", "SIGUSR1")
STOP_SIGNALS = tuple(s for s in signal.Signals if s.name in _NAMES)  # Windows has no SIGUSR1

_Handler = Callable[[int, Any], Any]


class Stopped(SystemExit):
    """A signal has asked this process to stop. Its exit code is the shell's: 143 for SIGTERM."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextmanager
def stops_raised(advice: str = "") -> Iterator[None]:
    """The first of ``STOP_SIGNALS`` raises ``Stopped``, so that ``finally`` and ``with`` do their
    work, and is passed on to the processes that this one has started.

    A second one ends the process at once. Outside the main thread, which alone gets signals,
    nothing changes.

    Args:
        advice: printed with the signal's name when it has come.
    """
    owner = os.getpid()

    def stop(number: int, frame: Any) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if os.getpid() != owner:  # a fork, such as a loader's worker, ends as it always did
            os.kill(os.getpid(), number)
        for child in multiprocessing.active_children():
            if child.pid is not None and not child.daemon:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, number)
        raise Stopped(number)

    try:
        with _handlers(dict.fromkeys(STOP_SIGNALS, stop)):
            yield
    except Stopped as stopped:
        print(f"\nStopped by {stopped.signal.name}. {advice}".rstrip(), file=sys.stderr)
        raise


@contextmanager
def stops_noted() -> Iterator[Callable[[], signal.Signals | None]]:
    """The first Ctrl-C, or the first of ``STOP_SIGNALS``, is only noted.

    Gives a function that says which one has come, for a loop to end at a place of its own choice. A
    second signal does not wait for that: Ctrl-C raises KeyboardInterrupt, another ``Stopped``.
    Outside the main thread, which alone gets signals, there is none.
    """
    noted: list[signal.Signals] = []

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    def note(number: int, frame: Any) -> None:
        noted.append(signal.Signals(number))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in STOP_SIGNALS:
            signal.signal(each, stop)

    with _handlers(dict.fromkeys((signal.SIGINT, *STOP_SIGNALS), note)):
        yield lambda: noted[0] if noted else None


@contextmanager
def _handlers(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    """These are in force meanwhile, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
