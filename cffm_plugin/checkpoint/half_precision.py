"""Weights in half the bytes, for files that are handed on."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..files import whole_file
from ..libraries import import_library
from .model_info import read_model_info
from .reading import read_state_dict

SUFFIX = ".safetensors"

logger = logging.getLogger(__name__)


def write_half_precision(
    model_state: Mapping[str, Tensor], path: str | os.PathLike, metadata: Mapping[str, str]
) -> None:
    """Write weights as float16 in a safetensors file, whole or not at all.

    MODEL.WEIGHTS takes the file: a model in float32 is loaded from it as from any other. float16
    keeps 11 significant bits, which is enough to run a model, and too few to train it on.

    Args:
        model_state: tensors by name, on any device. Floating ones become float16; others, such as
            counters, stay as they are. So do floating ones with a value above 65504, the largest
            that float16 has, which the log names.
        path: with the suffix .safetensors; a file that is there is replaced.
        metadata: texts by name, beside the weights. ``ModelInfo.as_metadata`` says what the model
            is, config included.

    Raises:
        ValueError: another suffix, or a weight is not finite.
        ModuleNotFoundError: safetensors is not installed.
        OSError: the file can't be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"{path}: weights in half precision go to a file named *{SUFFIX}.")
    safetensors = import_library("safetensors.torch", "A .safetensors file")
    halved = {name: _halved(name, tensor) for name, tensor in model_state.items()}
    with whole_file(path) as partial:
        # Its save_file would make a file that its owner alone can read.
        partial.write_bytes(safetensors.save(halved, dict(metadata)))


def halve_checkpoint(checkpoint: str | os.PathLike, path: str | os.PathLike) -> None:
    """Write a checkpoint's weights by ``write_half_precision``, and what it says of its model.

    Args:
        checkpoint: as ``read_state_dict`` takes it. What training resumes from is left out.
        path: as there.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it can't be read, or see ``write_half_precision``.
    """
    info = read_model_info(Path(checkpoint))
    metadata = {} if info is None else info.as_metadata()
    write_half_precision(read_state_dict(Path(checkpoint)), path, metadata)


def _halved(name: str, tensor: Tensor) -> Tensor:
    """A copy of its own on the CPU: safetensors takes no tensors that share their memory."""
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds values that are not finite: its training diverged.")
    half = tensor.to(torch.float16, copy=True, memory_format=torch.contiguous_format)
    if not torch.isfinite(half).all():
        logger.warning("%s has values above 65504, so it stays %s", name, tensor.dtype)
        return tensor.clone(memory_format=torch.contiguous_format)
    return half
