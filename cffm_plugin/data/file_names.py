"""Names of videos and frames, which come from strangers: whether a file may be named after them."""

import os
import re
from pathlib import Path

EXPECTED_NAME = (
    'a relative path without ".", ".." and control characters, such as "walk" or "day1/walk"'
)

_MOST_BYTES = 255  # what file systems take for one part of a path
# Also those that some programs take for the end of a line.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def fault_of_name(name: object) -> str | None:
    """What is wrong with the name of a video or a frame; None for one to name files after.

    A name is a relative path of parts that are joined by "/". None is "", "." or "..", or has a
    control character (line and paragraph separators count) or more than 255 bytes in UTF-8.
    """
    if not isinstance(name, str):
        return "is no text"
    if not name:
        return "is empty"
    if name.startswith("/"):
        return "is an absolute path"
    if character := _CONTROL_CHARACTER.search(name):
        return f"has the control character {character[0]!r}"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f'has the part "{part}"'
        try:
            num_bytes = len(os.fsencode(part))
        except UnicodeEncodeError:
            return "can't be written in UTF-8"
        if num_bytes > _MOST_BYTES:
            return f"has a part of {num_bytes} bytes, more than {_MOST_BYTES}"
    return None


def check_name(name: object, what: str = "The name") -> None:
    """
    Args:
        name: of a video, or of a video and a frame.
        what: it is of, for the error.

    Raises:
        ValueError: ``fault_of_name`` finds something.
    """
    if fault := fault_of_name(name):
        shown = f"{name!r:.200}"
        raise ValueError(
            f"{what} {shown} {fault}, and files are named after it. Expected {EXPECTED_NAME}. "
            "Rename it in the dataset."
        )


def path_below(folder: Path, name: str) -> Path:
    """Where a file of this name is written in a folder, never outside of it.

    The folder itself may be a link.

    Raises:
        ValueError: no file may be named so, or a link in the folder leads out of it.
    """
    check_name(name)
    if link := link_out_of(folder, name):
        raise ValueError(
            f"{link}: is a link that leads out of {folder}, so nothing is written there. Remove "
            "it, or make the folder itself a link."
        )
    return folder / name


def link_out_of(folder: Path, name: str) -> Path | None:
    """The first part of ``<folder>/<name>`` that is a link leading out of the folder, if any."""
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            inside = os.path.realpath(folder)
            if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
                return path
    return None
