"""What there is to know of a timm model before building it with memory and weights."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...libraries import OptionalLibrary

timm = OptionalLibrary("timm", "A backbone of timm (build_timm_backbone)")

FEATURE_OF_STRIDE = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}
# Sides that show what a model does with sizes it was not made for: odd, and over 224, the side
# that many take only.
PROBED_SIZES = ((97, 131), (225, 161))


@dataclass(frozen=True)
class Level:
    """One of a model's feature maps, and its index in timm."""

    index: int
    stride: int
    channels: int


@dataclass(frozen=True)
class Blueprint:
    """What there is to know of a timm model before building it with memory and weights."""

    options: dict[str, Any]  # keyword arguments of timm.create_model
    levels: dict[str, Level]  # by feature name, finest first
    channels_last: bool
    multiple: int  # what sides of images must be divisible by


def draw_blueprint(name: str, drop_path_rate: float, in_channels: int) -> Blueprint:
    """Find out by building the model without memory; arguments as for ``TimmBackbone``.

    Raises:
        ValueError: timm has no such model; or it lacks an option, maps of strides 4 to 32, or a way
            to take images of any size.
    """
    check_name(name)  # also imports timm before a device is set
    model, options = _create_on_meta(name, drop_path_rate, in_channels)
    info = model.feature_info
    by_stride = {
        stride: Level(index, stride, channels)  # of several of one stride the deepest
        for index, stride, channels in zip(info.out_indices, info.reduction(), info.channels())
    }
    levels = {
        feature: by_stride[stride]
        for stride, feature in FEATURE_OF_STRIDE.items()
        if stride in by_stride
    }
    if not levels:
        raise ValueError(
            f"timm's {name} has feature maps of strides {info.reduction()}, none of 4, 8, 16, 32"
        )
    channels_last = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")
    multiple = _needed_multiple(name, model, list(levels.values()), channels_last)
    return Blueprint(options, levels, channels_last, multiple)


def _create_on_meta(
    name: str, drop_path_rate: float, in_channels: int
) -> tuple[Any, dict[str, Any]]:
    """The feature extractor without memory, and the options that this model takes."""
    options: dict[str, Any] = {
        "drop_path_rate": drop_path_rate,  # also if 0: Swin's own default is 0.1
        "in_chans": in_channels,
        "strict_img_size": False,  # Swin: any size
        "dynamic_img_size": True,  # ViT: any size
    }
    asked_for = {"drop_path_rate": drop_path_rate != 0, "in_chans": in_channels != 3}
    while True:
        try:
            with torch.device("meta"):
                return timm.create_model(name, features_only=True, **options), options
        except TypeError as error:  # "unexpected keyword argument 'dynamic_img_size'"
            refused = [option for option in options if f"'{option}'" in str(error)]
            if not refused:
                raise
            for option in refused:
                if asked_for.get(option):
                    raise ValueError(
                        f"timm's {name} takes no {option}, got {options[option]}"
                    ) from error
                del options[option]
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"timm's {name} can't give feature maps: {error}") from error


def _needed_multiple(name: str, model: Any, levels: Sequence[Level], channels_last: bool) -> int:
    """What sides must be divisible by for every map to have ceil(side / stride) cells.

    timm does not say, so it is tried without computing anything: any side, the smallest stride
    (Swin), the largest (ConvNeXt, HRNet), the side of the pretraining images (MaxViT's windows).
    """
    strides = [level.stride for level in levels]
    pretraining = timm.get_pretrained_cfg(name)
    side = pretraining.input_size[-1] if pretraining is not None else 224
    for multiple in (1, min(strides), max(strides), side):
        if all(_fits(model, levels, channels_last, size, multiple) for size in PROBED_SIZES):
            return multiple
    raise ValueError(
        f"timm's {name} does not take images of any size, or its feature maps do not have the "
        f"strides {strides} that it declares. Take another model."
    )


def _fits(
    model: Any,
    levels: Sequence[Level],
    channels_last: bool,
    size: tuple[int, int],
    multiple: int,
) -> bool:
    """Whether an image of this size, padded, gives maps of the declared channels and strides."""
    channels = _in_channels(model)
    image = pad_to_multiple(torch.zeros(1, channels, *size, device="meta"), multiple)
    try:
        with torch.no_grad():
            maps = model.eval()(image)
    except (AssertionError, RuntimeError, ValueError):  # "Input height (97) doesn't match model"
        return False
    by_index = dict(zip(model.feature_info.out_indices, maps))
    for level in levels:
        cells = [math.ceil(s / level.stride) for s in image.shape[-2:]]
        shape = [1, *cells, level.channels] if channels_last else [1, level.channels, *cells]
        if list(by_index[level.index].shape) != shape:
            return False
    return True


def _in_channels(model: nn.Module) -> int:
    """Channels that the model's first convolution takes."""
    return next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))


def check_name(name: str) -> None:
    """
    Raises:
        ValueError: timm has no such model; the error names similar ones.
    """
    if not timm.is_model(name):
        nearest = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise ValueError(f"timm {timm.__version__} has no model {name!r}.{hint}")


def list_levels(levels: Mapping[str, Level]) -> str:
    """As in "res2 (stride 4), res3 (stride 8)"."""
    return ", ".join(f"{name} (stride {level.stride})" for name, level in levels.items())


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> sides brought to the next multiple by zeros at the bottom and the right."""
    height, width = image.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple))
