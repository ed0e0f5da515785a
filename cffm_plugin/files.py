"""Files that are written whole or not at all."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PARTIAL = ".partial"
_LONGEST_NAME = 200  # of 255 bytes: what is hidden has a longer one


@contextmanager
def whole_file(path: str | os.PathLike, *, durable: bool = True) -> Iterator[Path]:
    """Write a file whole or not at all, also when the process is killed or the machine stops.

    Gives a hidden path beside it, of the same suffix, to write to. At the end what was written is
    brought to the disk and becomes ``path`` in one step: until then a file that was there is as it
    was. A killed process leaves the hidden file behind, for ``remove_leftovers``.

    Args:
        path: the file.
        durable: wait for the disk. Without, a file is still whole when the process is killed, but
            not for certain after a power cut: for the many small files of a run that can make them
            again.

    Raises:
        OSError: it can't be written. The message says the path and how much space is free.
    """
    path = Path(path)
    stem = path.stem
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        stem = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    partial = path.with_name(f".{stem}.{os.getpid()}{_PARTIAL}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            _bring_to_disk(partial)
        os.replace(partial, path)
        if durable:
            _bring_to_disk(path.parent)
    except Exception as error:
        cause = _error_of_disk(error, [partial, path, *path.parents])
        if cause is None:
            raise
        raise _not_written(path, cause) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file, UTF-8, with ``whole_file``."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write strict JSON, see ``finite_or_none``, with ``whole_file``."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What ``write_json`` writes."""
    return json.dumps(finite_or_none(value), indent=1, allow_nan=False) + "\n"


def finite_or_none(value: Any) -> Any:
    """``value`` with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def remove_leftovers(folder: Path, *, below: bool = True) -> None:
    """Remove what killed processes left of ``whole_file``. None may be writing in the folder.

    Args:
        folder: where they are.
        below: in the folders in it too.
    """
    for partial in folder.glob(f"{'**/' if below else ''}.*{_PARTIAL}*"):
        partial.unlink(missing_ok=True)


def sha256_of(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlive a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _error_of_disk(error: BaseException | None, paths: list[Path]) -> OSError | None:
    """The system's error behind an exception, on one of these paths or on an open file.

    Libraries bury it under their own.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            is_ours = error.filename is None or Path(error.filename) in paths
            if is_ours:
                return error
        error = error.__cause__ or error.__context__
    return None


def _not_written(path: Path, cause: OSError) -> OSError:
    """Of the same class and number as the cause."""
    folder = next((p for p in path.parents if p.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free / 2**20
    return type(cause)(
        cause.errno,
        f"{path} could not be written: {os.strerror(cause.errno or 0)}. {free:.0f} MiB are free in "
        f"{folder}. What stood under this name before is as it was. Make room, or choose another "
        "place, and run the command again",
    )
