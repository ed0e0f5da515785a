"""Formats of paths with places for a video and a frame, such as "{video}/frames/{frame}.jpg"."""

import functools
import os
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_PLACES = ("video", "frame")
_SCAN_THREADS = 16  # listing folders is waiting, most of all on network disks


class Match(NamedTuple):
    """A file and what the places of a format stand for in its path.

    Attributes:
        file: the path.
        video: "" if the format has no place for it.
        frame: never "".
    """

    file: Path
    video: str
    frame: str


@dataclass(frozen=True)
class PathFormat:
    """A format of file paths below a folder.

    ``{video}`` and ``{frame}`` stand for any text within a folder's or a file's name; where one
    stands twice, for the same text. Of two in one name, as in "{video}_{frame}.png", the first
    takes as much as it can: the frame is what follows the last "_". ``{video:short}`` takes as
    little as it can: the frame is what follows the first "_". Hidden files match nothing.

    Attributes:
        text: the format, its parts separated by "/".
        suffixes: the suffixes, in small letters, that a file may have (in small or capital ones)
            if ``text`` ends in no suffix.

    Raises:
        ValueError: there is no ``{frame}``, or another word in braces.
    """

    text: str
    suffixes: tuple[str, ...]

    def __post_init__(self) -> None:
        places = re.findall(r"\{(.*?)\}", self.text)
        without = re.sub(r"\{(video|video:short|frame)\}", "", self.text)
        if "frame" not in places or "{" in without or "}" in without:
            raise ValueError(
                "expected a path with {frame} in it and, unless there is only one video, {video}, "
                f'such as "{{video}}/frames/{{frame}}.jpg"; got "{self.text}"'
            )

    def __str__(self) -> str:
        """For people: the format, and the suffixes that it leaves open."""
        open_suffixes = "" if self._has_suffix else f" ({', '.join(self.suffixes)})"
        return f'"{self.text}"{open_suffixes}'

    @property
    def has_video(self) -> bool:
        """Whether there is a place for the video."""
        return "{video" in self.text

    @property
    def parts_a_name(self) -> bool:
        """Whether video and frame stand in one name, without a folder between."""
        name = self.text.rpartition("/")[2]
        return "{video}" in name and "{frame}" in name

    def may_be(self, name: str) -> bool:
        """Whether a file of this name may have the format; so where the frame is a folder."""
        part = self.text.rpartition("/")[2]
        if "{frame}" not in part:  # which may hold all sorts of images
            return True
        suffixes = () if self._has_suffix else self.suffixes
        return _pattern(part, suffixes, {}).fullmatch(name) is not None

    def find(self, root: Path, videos: Collection[str] | None = None) -> list[Match]:
        """The files below ``root`` that have this format, in no particular order.

        Args:
            root: the folder to look in.
            videos: what ``{video}`` may stand for; by default anything.
        """
        *folders, file = Path(self.text).parts
        found: list[tuple[Path, dict[str, str]]] = [(root, {})]
        with ThreadPoolExecutor(_SCAN_THREADS) as pool:
            for part in folders:
                step = functools.partial(_descend, part, (), videos)
                found = [entry for entries in pool.map(step, found) for entry in entries]
            suffixes = () if self._has_suffix else self.suffixes
            last = functools.partial(_descend, file, suffixes, videos)
            found = [entry for entries in pool.map(last, found) for entry in entries]
        return [Match(path, places.get("video", ""), places["frame"]) for path, places in found]

    @property
    def _has_suffix(self) -> bool:
        return re.search(r"\.\w+$", self.text) is not None


def _descend(
    part: str,
    suffixes: tuple[str, ...],
    videos: Collection[str] | None,
    entry: tuple[Path, dict[str, str]],
) -> list[tuple[Path, dict[str, str]]]:
    """What lies in a folder under the names that a part of a format allows."""
    folder, places = entry
    if "{" not in part and not suffixes:
        return [(folder / part, places)] if (folder / part).exists() else []
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    pattern = _pattern(part, suffixes, places)
    below = []
    for name in names:
        match = None if name.startswith(".") else pattern.fullmatch(name)
        if match is not None:
            known = places | match.groupdict()
            if videos is None or "video" not in known or known["video"] in videos:
                below.append((folder / name, known))
    return below


def _pattern(part: str, suffixes: tuple[str, ...], places: dict[str, str]) -> re.Pattern:
    """A regular expression for names; the places that are known already hold their text."""
    pattern, open_places = "", set()
    for token in re.split(r"(\{[\w:]+\})", part):
        place, _, length = token[1:-1].partition(":")
        if place not in _PLACES or not token.startswith("{"):
            pattern += re.escape(token)
        elif place in places:
            pattern += re.escape(places[place])
        elif place in open_places:
            pattern += f"(?P={place})"
        else:
            pattern += f"(?P<{place}>.+{'?' if length else ''})"
            open_places.add(place)
    if suffixes:
        pattern += f"(?i:{'|'.join(map(re.escape, suffixes))})"
    return re.compile(pattern, re.DOTALL)  # a line break in a name is seen, and refused by name
