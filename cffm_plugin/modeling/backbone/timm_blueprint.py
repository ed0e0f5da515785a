"""What there is to know of a timm model before building it with memory and weights."""

import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .timm_hiera import extract, timm

FEATURE_OF_STRIDE = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}
PLAIN_STRIDE = 16  # what the patches of plain ViTs are brought to
# Sides that show what a model does with sizes it was not made for: odd, and over 224; what is over
# the side of its own images is tried too, since many take no other.
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
    plain: bool  # whether all of its maps have a stride of 16, as a plain ViT's


@functools.cache
def draw_blueprint(name: str, drop_path_rate: float, in_channels: int) -> Blueprint:
    """Find out by building the model without memory; arguments as for ``TimmBackbone``.

    Patches of a plain ViT that are not 16 pixels wide become so, with as many position embeddings
    as before: timm resamples the weights when it loads them. Its only level is the deepest map,
    after the model's last normalisation.

    Raises:
        ValueError: timm has no such model; or it lacks an option, maps of strides 4 to 32, or a way
            to take images of any size.
    """
    check_name(name)  # also imports timm before a device is set
    options: dict[str, Any] = {
        "drop_path_rate": drop_path_rate,  # also if 0: Swin's own default is 0.1
        "in_chans": in_channels,
        "strict_img_size": False,  # Swin: any size
        "dynamic_img_size": True,  # ViT: any size
    }
    asked_for = {"drop_path_rate"} if drop_path_rate else set()
    asked_for |= {"in_chans"} if in_channels != 3 else set()
    model, options = _create_on_meta(name, options, asked_for)
    plain = _has_one_stride(model)
    if plain:
        options |= _options_of_plain(model)
        model, options = _create_on_meta(name, options, asked_for | {"patch_size", "img_size"})
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
    fits = functools.partial(_fits, model, list(levels.values()), channels_last, in_channels)
    multiple = _needed_multiple(name, list(levels.values()), fits)
    plain = plain and PLAIN_STRIDE in by_stride
    return Blueprint(options, levels, channels_last, multiple, plain)


def _has_one_stride(extractor: Any) -> bool:
    """Whether it is one of timm's wrappers of a whole model, and all maps have the same stride."""
    return hasattr(extractor, "model") and len(set(extractor.feature_info.reduction())) == 1


def _options_of_plain(extractor: Any) -> dict[str, Any]:
    """For the last block's map, normalised, at a stride of 16 where that is the patches' size."""
    getter: Any = type(extractor)
    options: dict[str, Any] = {"feature_cls": functools.partial(getter, norm=True)}
    embed: Any = getattr(extractor.model, "patch_embed", None)
    patch = getattr(embed, "patch_size", None)
    stride = extractor.feature_info.reduction()[-1]
    if stride != PLAIN_STRIDE and patch == (stride, stride):
        options["patch_size"] = PLAIN_STRIDE
        options["img_size"] = tuple(PLAIN_STRIDE * cells for cells in embed.grid_size)
    return options


def _create_on_meta(
    name: str, options: dict[str, Any], asked_for: set[str]
) -> tuple[Any, dict[str, Any]]:
    """The feature extractor without memory, and the options that this model takes.

    An option that it does not take is left out, or an error where somebody has asked for it.
    """
    options = dict(options)
    while True:
        try:
            with torch.device("meta"):
                return timm.create_model(name, features_only=True, **options), options
        except TypeError as error:  # "unexpected keyword argument 'dynamic_img_size'"
            refused = [option for option in options if f"'{option}'" in str(error)]
            if not refused:
                raise
            for option in refused:
                if option in asked_for:
                    raise ValueError(
                        f"timm's {name} takes no {option}, got {options[option]}"
                    ) from error
                del options[option]
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"timm's {name} can't give feature maps: {error}") from error


def _needed_multiple(
    name: str, levels: Sequence[Level], fits: Callable[[tuple[int, int], int], bool]
) -> int:
    """What sides must be divisible by for every map to have ceil(side / stride) cells.

    timm does not say, so it is tried without computing anything: any side, the smallest stride
    (Swin), the largest (ConvNeXt, HRNet), the side of the pretraining images (MaxViT's windows).
    """
    strides = [level.stride for level in levels]
    pretraining = timm.get_pretrained_cfg(name)
    side = pretraining.input_size[-1] if pretraining is not None else 224
    sizes = (*PROBED_SIZES, (side + 1, 161))
    for multiple in (1, min(strides), max(strides), side):
        if all(fits(size, multiple) for size in sizes):
            return multiple
    raise ValueError(
        f"timm's {name} does not take images of any size, or its feature maps do not have the "
        f"strides {strides} that it declares. Take another model."
    )


def _fits(
    model: Any,
    levels: Sequence[Level],
    channels_last: bool,
    in_channels: int,
    size: tuple[int, int],
    multiple: int,
) -> bool:
    """Whether an image of this size, padded, gives maps of the declared channels and strides."""
    image = pad_to_multiple(torch.zeros(1, in_channels, *size, device="meta"), multiple)
    try:
        with torch.no_grad():
            maps = extract(model.eval(), image)
    except (AssertionError, RuntimeError, ValueError):  # "Input height (97) doesn't match model"
        return False
    by_index = dict(zip(model.feature_info.out_indices, maps))
    for level in levels:
        cells = [math.ceil(s / level.stride) for s in image.shape[-2:]]
        shape = [1, *cells, level.channels] if channels_last else [1, level.channels, *cells]
        if list(by_index[level.index].shape) != shape:
            return False
    return True


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


def crop_to_cells(feature: Tensor, size: Sequence[int], stride: int) -> Tensor:
    """(B, C, h, w) of a padded image -> the ceil(side / stride) cells of an image of ``size``."""
    height, width = (math.ceil(side / stride) for side in size)
    return feature[:, :, :height, :width].contiguous()
