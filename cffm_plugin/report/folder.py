"""The folder of a report: an old report in it stays until the new one is complete."""

import json
import shutil
from pathlib import Path
from types import TracebackType

from ..files import remove_leftovers

KIND = "cffm_plugin report"
_PICTURES = "pictures-"


class ReportFolder:
    """A folder that becomes a report's when ``keep`` was called; otherwise nothing in it changes.

    Attributes:
        path: the folder.
        index, data: its index.html and report.json.
        pictures: a new folder in it for pictures.
        old: folders of pictures of reports before.

    Args:
        path: a new or empty folder, or one that holds a report.

    Raises:
        FileExistsError: it holds something else, or it is a file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.index, self.data = path / "index.html", path / "report.json"
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"{path} is a file, and a report is a folder. Name another one.")
        if path.is_dir() and any(path.iterdir()) and not _is_report(self.data):
            raise FileExistsError(
                f"{path} holds something that is no report. Name a new folder, or remove this one."
            )
        self.old = [old for old in sorted(path.glob(f"{_PICTURES}*")) if old.is_dir()]
        taken = {old.name for old in self.old}
        self.pictures = next(
            path / f"{_PICTURES}{n}"
            for n in range(len(taken) + 1)
            if f"{_PICTURES}{n}" not in taken
        )

    def __enter__(self) -> "ReportFolder":
        self.pictures.mkdir(parents=True)
        if not self.data.exists():  # a killed run's folder is one of a report all the same
            self.data.write_text(json.dumps({"kind": KIND}) + "\n")
        return self

    def keep(self) -> None:
        """The new report is complete: what was there of the old one goes."""
        for old in self.old:
            shutil.rmtree(old)
        remove_leftovers(self.path, below=False)
        self.old = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            shutil.rmtree(self.pictures, ignore_errors=True)
            if not self.index.exists():
                self.data.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _is_report(data: Path) -> bool:
    try:
        found = json.loads(data.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("kind") == KIND
