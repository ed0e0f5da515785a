"""Signs that masks come from where values mean something else: numbers of objects, PNGs that were
made smaller."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..errors import some
from .images import IGNORE_LABEL, LabelMapping
from .label_findings import LabelFinding

_FEWEST_VIDEOS = 3  # whose values look like numbers of objects
_MOST_OBJECTS = 30
_START = 1 << 12  # bytes of a PNG, which hold its header and palette

Storage = tuple[int, tuple[int, ...]]  # bits; the greys of a palette, () without one


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
    numbers = some(sorted(most))
    message = (
        f"in each of {len(sets)} videos the values are 1 to n without a gap, and n is {numbers}. "
        "So are the numbers of objects in DAVIS and YouTube-VOS, which say first, second, third "
        "object of this video and not what it is: a person in one, a car in the next. If these are "
        "such, there is nothing in them to learn classes from: map every object of every video to "
        "its class first."
    )
    return [LabelFinding("labels_of_objects", "warning", message)]


def files_by_storage(files: Iterable[str]) -> dict[Storage, list[str]]:
    """How grey values are stored -> the PNGs among files that store them so, by their headers."""
    by_storage: dict[Storage, list[str]] = {}
    for file in files:
        if (storage := _storage(file)) is not None:
            by_storage.setdefault(storage, []).append(file)
    return by_storage


def storage_finding(by_storage: Mapping[Storage, Sequence[str]]) -> list[LabelFinding]:
    """A warning where grey masks are stored in different ways, which names the rarer files.

    Programs that make PNGs smaller without loss of the picture store {0, 255} in one bit, as 0 and
    1, and {0, 7, 11} as the places 0, 1, 2 of a palette of three greys. Index masks are read by
    what is stored, which then is something else than before.

    Args:
        by_storage: as ``files_by_storage`` gives it.
    """
    depths = {bits for bits, palette in by_storage if not palette}
    palettes = [palette for _, palette in by_storage if palette]
    longest = max(palettes, key=len, default=())
    one_palette = all(longest[: len(palette)] == palette for palette in palettes)
    one_depth = len(depths) < 2 or min(depths) >= 8
    if one_palette and one_depth and not (depths and palettes):
        return []
    usual = max(by_storage, key=lambda storage: len(by_storage[storage]))
    rarer = sorted(file for storage, of in by_storage.items() if storage != usual for file in of)
    counts = some([f"{len(of)} of {_name(*storage)}" for storage, of in by_storage.items()])
    message = (
        f"grey masks are stored in different ways: {counts}; not as most are {some(rarer)}. If a "
        "program made the files smaller, it kept the picture and changed the stored numbers, which "
        "are what counts: 255 may have become 1, and classes others. Then say that the picture "
        "counts, in the YAML file of DATASETS.VIDEO_FOLDERS: mask_values: {channel: R}. Or write "
        "all masks with 8 bits."
    )
    return [LabelFinding("mask_storage_mixed", "warning", message)]


def _name(bits: int, palette: tuple[int, ...]) -> str:
    if not palette:
        return f"{bits} bit(s)"
    return f"a palette with the greys {some(palette)}"


def _storage(file: str) -> Storage | None:
    """Bits of a grey PNG, or the greys of a palette that are not their places; None for others."""
    if not os.path.isfile(file):  # a pipe would be waited for without end
        return None
    try:
        with open(file, "rb") as content:
            start = content.read(_START)
    except OSError:
        return None
    if not start.startswith(b"\x89PNG") or len(start) < 26:
        return None
    bits, kind = start[24:26]
    place = start.find(b"PLTE")
    if kind == 0:
        return bits, ()
    if kind != 3 or place < 0:
        return None
    length = int.from_bytes(start[place - 4 : place], "big")
    palette = start[place + 4 : place + 4 + length]
    greys = tuple(palette[::3])
    is_grey = greys == tuple(palette[1::3]) == tuple(palette[2::3])
    return (bits, greys) if is_grey and greys != tuple(range(len(greys))) else None
