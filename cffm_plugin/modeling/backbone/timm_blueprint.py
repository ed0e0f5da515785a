"""What there is to know of a timm model before building it with memory and weights."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .timm_hiera import timm
from .timm_probing import Level, NeedsValuesError, needed_multiple
from .timm_windows import has_windows

FEATURE_OF_STRIDE = {4: "res2", 8: "res3", 16: "res4", 32: "res5"}
PLAIN_STRIDE = 16  # what the patches of plain ViTs are brought to


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
    if has_windows(model):
        options["always_partition"] = True  # of full size; see ``lay_out_windows_by_size``
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
    asked = (list(levels.values()), channels_last, in_channels)
    try:
        multiple = needed_multiple(name, model, *asked)
    except NeedsValuesError:
        multiple = needed_multiple(name, _create(name, options), *asked)
    plain = plain and PLAIN_STRIDE in by_stride
    return Blueprint(options, levels, channels_last, multiple, plain)


def _has_one_stride(extractor: Any) -> bool:
    """Whether it is one of timm's wrappers of a whole model, and all maps have the same stride."""
    return hasattr(extractor, "model") and len(set(extractor.feature_info.reduction())) == 1


def _options_of_plain(extractor: Any) -> dict[str, Any]:
    """For the last block's map, normalised, at a stride of 16 where that is the patches' size."""
    getter: Any = type(extractor)
    options: dict[str, Any] = {"feature_cls": _normalising(getter)}
    embed: Any = getattr(extractor.model, "patch_embed", None)
    patch = getattr(embed, "patch_size", None)
    stride = extractor.feature_info.reduction()[-1]
    if stride != PLAIN_STRIDE and patch == (stride, stride):
        options["patch_size"] = PLAIN_STRIDE
        options["img_size"] = tuple(PLAIN_STRIDE * cells for cells in embed.grid_size)
    return options


@functools.cache
def _normalising(getter: Any) -> Any:
    """The same wrapper of timm's, giving maps after the model's last normalisation.

    A class and no function, or timm would ask it for maps as the model's own ``output_fmt`` says.
    """

    class Normalising(getter):
        def __init__(self, model: Any, **options: Any):
            super().__init__(model, norm=True, **options)

    return Normalising


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


def _create(name: str, options: dict[str, Any]) -> Any:
    """The feature extractor with values, leaving the random numbers of others alone."""
    with torch.random.fork_rng(devices=[]):
        return timm.create_model(name, features_only=True, **options)


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
