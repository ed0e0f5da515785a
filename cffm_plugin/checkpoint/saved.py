"""The checkpoints in a training's folder: which there are, and which of them are whole."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .reading import load_file

LAST = "last_checkpoint"  # the file that names the last one
_NUMBERED = re.compile(r"model_(\d{7,})\.pth")
FINAL = "model_final.pth"

logger = logging.getLogger(__name__)


def saved_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a training in ``folder``: that which is named as last, then the newest."""
    found = [file for file in folder.glob("model_*.pth") if _NUMBERED.fullmatch(file.name)]
    found += [file for file in (folder / FINAL,) if file.is_file()]
    found.sort(key=_iteration, reverse=True)
    named = _last(folder)
    if named is not None:
        found = [named, *(file for file in found if file != named)]
    return found


def newest_sound_checkpoint(folder: Path) -> Path:
    """Where a training in ``folder`` can go on; what is passed over is logged with the reason.

    Raises:
        ValueError: none of the checkpoints is sound.
    """
    passed_over: list[str] = []
    for file in saved_checkpoints(folder):
        problem = _problem(file)
        if problem is None:
            for line in passed_over:
                logger.warning("Passed over: %s", line)
            if passed_over:
                logger.warning("Training goes on from %s, the newest that is sound", file)
            return file
        passed_over.append(problem)
    listed = "".join(f"\n  {line}" for line in passed_over) or f"\n  {LAST} is empty"
    raise ValueError(
        f"{folder} holds no sound checkpoint to go on from:{listed}\nDelete {LAST} and these "
        "files, or name another OUTPUT_DIR, to start anew from MODEL.WEIGHTS."
    )


def remove_old_checkpoints(folder: Path, keep: int) -> None:
    """Remove all numbered checkpoints but the ``keep`` newest; 0 keeps all.

    That which is named as last, and model_final.pth, stay.
    """
    numbered = [file for file in folder.glob("model_*.pth") if _NUMBERED.fullmatch(file.name)]
    numbered.sort(key=_iteration)
    for file in numbered[:-keep] if keep else []:
        if file == _last(folder):
            continue
        try:
            file.unlink()
        except OSError as error:
            logger.warning("SOLVER.KEEP_CHECKPOINTS: an old one can't be removed (%s)", error)


def not_finite(named: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold NaN; or, where they are parameters, infinity."""
    return [name for name, tensor in named.items() if not _is_sound(tensor)]


def _is_sound(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    # Buffers may hold infinity on purpose, as masks of attention do.
    wrong = ~torch.isfinite(tensor) if isinstance(tensor, nn.Parameter) else torch.isnan(tensor)
    return not bool(wrong.any())


def _last(folder: Path) -> Path | None:
    try:
        name = (folder / LAST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # A name of this folder, as the trainer writes it: nothing elsewhere is read for it.
    return folder / name if name and Path(name).name == name else None


def _problem(file: Path) -> str | None:
    try:
        weights = load_file(file)["model"]
        bad = not_finite(weights)
    except (OSError, ValueError) as error:
        return str(error)
    except Exception:  # of any kind, where a stranger's file has another structure
        return f"{file} holds no model"
    return f"{file} holds NaN in {bad[0]}" if bad else None


def _iteration(file: Path) -> int:
    """After how many steps a checkpoint was written, less one; -1 where that can't be read."""
    numbered = _NUMBERED.fullmatch(file.name)
    if numbered:
        return int(numbered[1])
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=True)["iteration"]
    except Exception:  # damaged: the reason is told when it is its turn
        return -1
    return found if isinstance(found, int) else -1
