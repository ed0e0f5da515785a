"""Tensors in containers: what belongs to a batch of frames, whatever holds it."""

from collections.abc import Callable, Sequence
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


def split_batch(value: T, size: int) -> list[T]:
    """The entries of a batch, each a batch of one, in memory of its own: one that is kept does not
    keep the others.

    Args:
        value: tensors in any container of ``map_tensors``, all with the batch as first dimension.
        size: of the batch.

    Raises:
        ValueError: a tensor has another first dimension.
    """
    for tensor in tensors_in(value):
        if tensor.dim() == 0 or len(tensor) != size:
            raise ValueError(
                f"{type(value).__name__}: expected the batch of {size} as first dimension of every "
                f"tensor, got {tuple(tensor.shape)}"
            )
    if size == 1:
        return [value]
    return [map_tensors(value, _entry(i)) for i in range(size)]


def _entry(index: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[index : index + 1].clone()


def cat_batches(values: Sequence[T]) -> T:
    """One batch of several, whose tensors but for the batch have the same shapes.

    Args:
        values: containers of one kind, as of ``split_batch``.
    """
    if len(values) == 1:
        return values[0]
    columns = iter(zip(*map(tensors_in, values), strict=True))
    return map_tensors(values[0], lambda _: torch.cat(next(columns)))


def to_channels_last(module: nn.Module) -> None:
    """Let all weights of images' maps have channels last in memory; the others stay as they are.

    ``module.to(memory_format=torch.channels_last)`` refuses modules with weights of three
    dimensions, such as timm's LambdaNetworks.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
