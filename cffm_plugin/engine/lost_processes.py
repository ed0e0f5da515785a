"""Finding a process that is gone, and naming it to the others.

What a collective operation says when a process is gone is that a connection was closed, or, with
NCCL, nothing at all. So every process counts in a place that all can see, and looks at the others'
counts, in a thread of its own.
"""

import logging
import os
import threading
import time
from datetime import timedelta

from torch.distributed import Store

_EXIT_CODE = 1
_FAILED = "failed: "

logger = logging.getLogger(__name__)


class LostProcessError(RuntimeError):
    """Another process of this training is gone, or failed."""


class ProcessWatch:
    """Counts for this process and watches the counts of the others.

    A process that does not count for ``limit`` is gone: the error names its rank, and this process
    ends, since nothing else can end a wait inside NCCL.

    Args:
        store: that all processes share and the first one holds, over a connection that nobody else
            uses.
        rank: of this process.
        world_size: the number of processes.
        limit: how long a process may be silent.
    """

    def __init__(self, store: Store, rank: int, world_size: int, limit: timedelta):
        self._store = store
        self._rank = rank
        self._keys = [f"process {other}" for other in range(world_size)]
        self._limit = limit.total_seconds()
        self._interval = min(1.0, self._limit / 8)
        self._values = [""] * world_size
        self._moved = [0.0] * world_size
        self._answered = 0.0  # when the store last did
        self._failure = ""
        self._done = threading.Event()
        # Two, since a question to a process that is frozen is never answered.
        targets = (self._ask_again_and_again, self._end_when_one_is_lost)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        self._store.set(self._keys[rank], "0")

    def start(self) -> None:
        """To be called when all processes have made theirs."""
        self._answered = time.monotonic()
        self._moved = [self._answered] * len(self._keys)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def explain(self, error: Exception) -> Exception | None:
        """Why a job failed here, where that is another process: it is gone, or failed first.

        Takes a few seconds. Tells the others that this process failed, and of what.
        """
        failed_before = [r for r, value in enumerate(self._values) if value.startswith(_FAILED)]
        self._failure = f"{_FAILED}{type(error).__name__}: {error}"[:1000]
        time.sleep(2 * self._interval)  # whatever was said before is heard by now
        since = time.monotonic()
        time.sleep(4 * self._interval)
        lost = self._silent_since(since)
        if lost:
            return LostProcessError(self._message(lost, 4 * self._interval))
        for rank in failed_before:
            return LostProcessError(f"{self._name(rank)} {self._values[rank]}")
        return None

    def _ask_again_and_again(self) -> None:
        count = 0
        while not self._done.wait(self._interval):
            count += 1
            try:
                self._store.set(self._keys[self._rank], self._failure or str(count))
                values = [value.decode() for value in self._store.multi_get(self._keys)]
            except RuntimeError:  # a connection that failed stays so
                return
            self._answered = now = time.monotonic()
            for rank, value in enumerate(values):
                if value != self._values[rank]:
                    self._values[rank], self._moved[rank] = value, now

    def _end_when_one_is_lost(self) -> None:
        while not self._done.wait(self._interval):
            lost = self._silent_since(time.monotonic() - self._limit)
            if lost and not self._failure:
                logger.critical("%s", self._message(lost, self._limit))
                logging.shutdown()
                os._exit(_EXIT_CODE)

    def _silent_since(self, moment: float) -> list[int]:
        """The ranks of which nothing was heard, not even that they failed."""
        silent = [
            rank
            for rank, moved in enumerate(self._moved)
            if rank != self._rank and moved < moment and not self._values[rank].startswith(_FAILED)
        ]
        # Without the store nothing is known of the others, but that the first process holds it.
        return silent if self._answered >= moment else [rank for rank in silent if rank == 0]

    def _name(self, rank: int) -> str:
        return f"Process {rank} of {len(self._keys)} (rank {rank})"

    def _message(self, lost: list[int], seconds: float) -> str:
        names = ", ".join(map(self._name, lost))
        return (
            f"{names}: gone, with no sign of life for {seconds:.0f} s. It was killed, or its "
            "machine is down or out of reach. This process ends. --resume goes on from the last "
            "checkpoint. (DISTRIBUTED.TIMEOUT says how long a process may be silent.)"
        )
