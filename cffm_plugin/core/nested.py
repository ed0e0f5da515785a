"""Tensors in containers: what belongs to a batch of frames, whatever holds it."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


def map_tensors(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same with ``change(tensor)`` for every tensor, in the order in which they stand.

    Args:
        value: a tensor; or a dataclass, tuple, list or dict of such. Anything else stays as it is.
    """
    result: Any = value
    if isinstance(value, Tensor):
        result = change(value)
    elif is_dataclass(value) and not isinstance(value, type):
        result = type(value)(
            **{f.name: map_tensors(getattr(value, f.name), change) for f in fields(value)}
        )
    elif isinstance(value, tuple | list):
        result = type(value)(map_tensors(entry, change) for entry in value)
    elif isinstance(value, dict):
        result = {key: map_tensors(entry, change) for key, entry in value.items()}
    return result


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in a container, in the order of ``map_tensors``."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found


def to_channels_last(module: nn.Module) -> None:
    """Let all weights of images' maps have channels last in memory; the others stay as they are.

    ``module.to(memory_format=torch.channels_last)`` refuses modules with weights of three
    dimensions, such as timm's LambdaNetworks.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
