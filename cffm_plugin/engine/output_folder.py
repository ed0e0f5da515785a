"""OUTPUT_DIR: what lies where in it, and that one training has it for itself."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import portalocker

from ..checkpoint import saved_checkpoints
from ..files import remove_leftovers
from ..job_spec import JobSpec

_LOCK = "training.lock"

logger = logging.getLogger(__name__)


def output_folder_of(spec: JobSpec, kind: str, dataset_name: str) -> Path:
    """Where something of a dataset goes, such as "inference".

    The folder of that kind; where there are several datasets, one in it of the dataset's name.
    """
    folder = Path(spec.output_dir, kind)
    return folder / dataset_name if len(spec.test) > 1 else folder


@contextmanager
def claimed_for_training(folder: str, *, resume: bool) -> Iterator[None]:
    """While it is entered, no other training writes in the folder; not even on another machine.

    The lock is the system's, so it ends with the process, however that ends.

    Args:
        folder: OUTPUT_DIR, made if there is none.
        resume: whether this training goes on with the one that the folder holds.

    Raises:
        FileExistsError: another training runs here; or the folder holds checkpoints, and this
            training would write over them.
        OSError: the folder can't be written.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with open(path / _LOCK, "a+", encoding="utf-8") as lock:
        _lock(lock, path)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        saved = saved_checkpoints(path)
        if saved and not resume:
            raise FileExistsError(
                f"OUTPUT_DIR {folder} holds checkpoints of an earlier training, such as "
                f"{saved[0].name}, over which this one would write. --resume goes on with it; for "
                "a new training name another OUTPUT_DIR, or move the folder away."
            )
        remove_leftovers(path, below=False)
        yield


def _lock(file: TextIO, folder: Path) -> None:
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        owner = (folder / _LOCK).read_text(encoding="utf-8").strip() or "another process"
        raise FileExistsError(
            f"Another training runs in OUTPUT_DIR {folder}: {owner}. Wait until it has ended, end "
            "it, or name another OUTPUT_DIR."
        ) from None
    except (portalocker.LockException, OSError) as error:  # network file systems without locks
        logger.warning("%s can't be locked (%s): see to it that no other uses it", folder, error)
