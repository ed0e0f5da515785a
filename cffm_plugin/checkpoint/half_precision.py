"""Writing weights as safetensors: tensors and texts, which run no code; at half the size if wanted.

A model in float32 takes weights in float16 as they are: loading casts them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..files import whole_file
from ..libraries import import_library
from .model_info import read_model_info
from .reading import read_state_dict
from .saved import not_finite


def half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 and float64 tensors as float16, all others as they are: indices, counters.

    Raises:
        ValueError: a value is finite and too large for float16, 65504.
    """
    halves = {name: _half(tensor) for name, tensor in weights.items()}
    for name, tensor in weights.items():
        half = halves[name]
        if half.is_floating_point() and bool((half.isinf() & ~tensor.isinf()).any()):
            largest = float(tensor[~tensor.isinf()].abs().max())
            raise ValueError(
                f"{name} holds {largest:g}, and float16 ends at 65504. Write these weights in full "
                "precision."
            )
    return halves


def write_half_precision(
    weights: Mapping[str, Tensor], path: str | os.PathLike, metadata: Mapping[str, str]
) -> None:
    """Write weights as float16 in a .safetensors file, whole or not at all.

    Args:
        weights: by name.
        path: the file.
        metadata: texts that go into its header, such as ``ModelInfo.as_metadata``.

    Raises:
        FloatingPointError: a weight is NaN.
        ValueError: a value is too large for float16.
        OSError: the file can't be written.
    """
    write_safetensors(half_precision(weights), path, metadata)


def write_safetensors(
    weights: Mapping[str, Tensor], path: str | os.PathLike, metadata: Mapping[str, str]
) -> None:
    """Write weights as they are; see ``write_half_precision``."""
    bad = not_finite(weights)
    if bad:
        raise FloatingPointError(f"{path} was not written: {bad[0]} holds NaN")
    library = import_library("safetensors.torch", "A .safetensors file")
    # Of their own memory: safetensors refuses tensors that share it.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    with whole_file(path) as partial:  # as bytes: save_file's files are for their owner alone
        partial.write_bytes(library.save(own, metadata={"format": "pt", **metadata}))


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


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.dtype in (torch.float32, torch.float64) else tensor
