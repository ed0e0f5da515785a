"""Which sizes of images a timm model takes: tried, since timm does not say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .timm_hiera import extract, timm

# Sides that show what a model does with sizes it was not made for: odd, and over 224; what is over
# the side of its own images is tried too, since many take no other.
PROBED_SIZES = ((97, 131), (225, 161))


class NeedsValuesError(Exception):
    """A model on the device "meta" asks for the values of its tensors."""


@dataclass(frozen=True)
class Level:
    """One of a model's feature maps, and its index in timm."""

    index: int
    stride: int
    channels: int


def needed_multiple(
    name: str, model: Any, levels: Sequence[Level], channels_last: bool, in_channels: int
) -> int:
    """What sides must be divisible by for every map to have ceil(side / stride) cells.

    Tried are any side, the smallest stride (Swin), the largest (ConvNeXt, HRNet), twice that
    (MobileViT 2) and the side of the pretraining images (MaxViT's windows). On the device "meta"
    nothing is computed.

    Raises:
        NeedsValuesError: the model must be on another device.
        ValueError: there is none.
    """
    strides = [level.stride for level in levels]
    side = _side_of_pretraining(name)
    sizes = (*PROBED_SIZES, (side + 1, 161))
    for multiple in (1, min(strides), max(strides), 2 * max(strides), side):
        if all(_fits(model, levels, channels_last, in_channels, s, multiple) for s in sizes):
            return multiple
    raise ValueError(
        f"timm's {name} does not take images of any size, or its feature maps do not have the "
        f"strides {strides} that it declares. Take another model."
    )


def check_tables(name: str, extractor: Any, multiple: int, in_channels: int) -> None:
    """Try a model, with its values, on two long thin images, larger than those it was made for.

    On the device "meta" a table of relative positions has no end: MViTv2 reads its tables by index,
    for small images from a wrong row and for large ones beyond their end. Cheap, since thin.

    Raises:
        ValueError: an index is out of range.
    """
    long = -(-2 * _side_of_pretraining(name) // multiple) * multiple
    thin = -(-32 // multiple) * multiple
    device = next(extractor.parameters()).device
    for size in ((long, thin), (thin, long)):
        try:
            with torch.no_grad():
                extract(extractor, torch.zeros(1, in_channels, *size, device=device))
        except (IndexError, RuntimeError) as error:
            if not isinstance(error, IndexError) and "out of " not in str(error):
                continue  # too thin for it; other sizes were tried by ``needed_multiple``
            raise ValueError(
                f"timm's {name} reads a table of relative positions that is made for one size of "
                f"images ({error} at {size[0]}x{size[1]}), and does not take images of any size. "
                "Take another model."
            ) from error


def _side_of_pretraining(name: str) -> int:
    pretraining = timm.get_pretrained_cfg(name)
    return 224 if pretraining is None else pretraining.input_size[-1]


def _fits(
    model: Any,
    levels: Sequence[Level],
    channels_last: bool,
    in_channels: int,
    size: tuple[int, int],
    multiple: int,
) -> bool:
    """Whether an image of this size, padded, gives maps of the declared channels and strides."""
    device = next(model.parameters()).device
    image = pad_to_multiple(torch.zeros(1, in_channels, *size, device=device), multiple)
    try:
        with torch.no_grad():
            maps = extract(model.eval(), image)
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        if "meta tensors" in str(error):  # "Tensor.item() cannot be called on meta tensors"
            raise NeedsValuesError from error
        return False  # "Input height (97) doesn't match model"
    by_index = dict(zip(model.feature_info.out_indices, maps))
    for level in levels:
        cells = [math.ceil(s / level.stride) for s in image.shape[-2:]]
        shape = [1, *cells, level.channels] if channels_last else [1, level.channels, *cells]
        if list(by_index[level.index].shape) != shape:
            return False
    return True


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> sides brought to the next multiple by zeros at the bottom and the right."""
    height, width = image.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple))


def crop_to_cells(feature: Tensor, size: Sequence[int], stride: int) -> Tensor:
    """(B, C, h, w) of a padded image -> the ceil(side / stride) cells of an image of ``size``."""
    height, width = (math.ceil(side / stride) for side in size)
    return feature[:, :, :height, :width].contiguous()
