"""Work in processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[Result]:
    """``function`` of every item, in order, computed by ``jobs`` processes.

    The processes start as this platform starts them by default, as DataLoader's do; ``function``
    must not use OpenCV, whose threads do not survive a fork.
    """
    if jobs == 1 or len(items) < 2:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(min(jobs, len(items))) as pool:
        yield from pool.map(function, items)
