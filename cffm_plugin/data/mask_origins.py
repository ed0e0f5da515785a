"""Signs that masks come from where values mean something else: numbers of objects, PNGs that were
made smaller."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from .datasets.records import some
from .images import IGNORE_LABEL, LabelMapping
from .label_findings import LabelFinding

_FEWEST_VIDEOS = 3  # whose values look like numbers of objects
_MOST_OBJECTS = 30


def objects_finding(
    values_of_videos: Iterable[Collection[int]], mapping: LabelMapping
) -> list[LabelFinding]:
    """A warning where values in masks may be numbers of objects, as in DAVIS and YouTube-VOS.

    Their tell: in every video they are 1 to n without a gap, n differs, and is 1 in some.

    Args:
        values_of_videos: of every video, those that occur.
        mapping: what they are said to mean.
    """
    sets = [set(values) - {0, IGNORE_LABEL} for values in values_of_videos]
    sets = [values for values in sets if values]
    most = {max(values) for values in sets}
    if mapping.encoding.colors or len(sets) < _FEWEST_VIDEOS or len(most) < 2 or 1 not in most:
        return []
    if max(most) > _MOST_OBJECTS or any(len(values) != max(values) for values in sets):
        return []
    numbers = some(list(map(str, sorted(most))))
    message = (
        f"in each of {len(sets)} videos the values are 1 to n without a gap, and n is {numbers}. "
        "So are the numbers of objects in DAVIS and YouTube-VOS, which say first, second, third "
        "object of this video and not what it is: a person in one, a car in the next. If these are "
        "such, there is nothing in them to learn classes from: map every object of every video to "
        "its class first."
    )
    return [LabelFinding("labels_of_objects", "warning", message)]


def files_by_depth(files: Iterable[str]) -> dict[int, list[str]]:
    """Number of bits -> the grey PNGs among files that have it, by their headers."""
    by_depth: dict[int, list[str]] = {}
    for file in files:
        if (depth := _grey_depth(file)) is not None:
            by_depth.setdefault(depth, []).append(file)
    return by_depth


def depths_finding(by_depth: Mapping[int, Sequence[str]]) -> list[LabelFinding]:
    """A warning where grey masks have different numbers of bits, which names those of fewer.

    Programs that make PNGs smaller without loss of the picture store {0, 255} in one bit, as 0 and
    1. Index masks are read by their stored values, which then are others than before.

    Args:
        by_depth: as ``files_by_depth`` gives it.
    """
    if len(by_depth) < 2 or min(by_depth) >= 8:
        return []
    most = max(by_depth)
    fewer = sorted(file for depth, of in by_depth.items() if depth != most for file in of)
    counts = ", ".join(f"{len(by_depth[d])} of {d} bit(s)" for d in sorted(by_depth))
    message = (
        f"grey masks have different numbers of bits: {counts}; fewer than {most} have "
        f"{some(fewer)}. If a program made the files smaller, it stored 0 and 255 as 0 and 1 in "
        "one bit, and void became a class: the stored values are what counts. Write all masks with "
        "8 bits by the program that made them, or take them from the archive."
    )
    return [LabelFinding("mask_depths_mix", "warning", message)]


def _grey_depth(file: str) -> int | None:
    """Bits of a grey PNG by its header; None for any other file."""
    if not os.path.isfile(file):  # a pipe would be waited for without end
        return None
    try:
        with open(file, "rb") as content:
            header = content.read(26)
    except OSError:
        return None
    is_grey = header.startswith(b"\x89PNG") and len(header) == 26 and header[25] == 0
    return header[24] if is_grey else None
