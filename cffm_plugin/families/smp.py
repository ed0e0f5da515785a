"""Nets of segmentation_models_pytorch.

They are taken apart as any net is: what follows their classifier and what sides they take is found
out. What stands here is what their library says of images, its losses by name, and its folders.
"""

import inspect
import logging
from typing import Any

from torch import nn

from ..libraries import OptionalLibrary

logger = logging.getLogger(__name__)

library: Any = OptionalLibrary("segmentation_models_pytorch", "A net of this library")


def is_net(net: nn.Module) -> bool:
    return any(
        kind.__module__.startswith("segmentation_models_pytorch.") for kind in type(net).__mro__
    )


def config_of(net: Any) -> dict[str, Any]:
    """What a net was made with; {} where that is not known."""
    return dict(getattr(net, "_hub_mixin_config", None) or {})


def images_of(net: Any) -> dict[str, Any]:
    """How its encoder's pretraining normalised images, as arguments of ``assemble_segmentor``; {}
    where it has none, or where its library can't say it without the hub."""
    config = config_of(net)
    if not config.get("encoder_weights"):
        return {}
    encoder = config["encoder_name"]
    try:
        params = library.encoders.get_preprocessing_params(encoder, config["encoder_weights"])
    except (OSError, ValueError, KeyError) as error:
        logger.warning(
            "How images are normalised for %s could not be read, and ImageNet's values are taken "
            "where pixel_mean and pixel_std are not given: %s",
            encoder,
            error,
        )
        return {}
    largest = (params.get("input_range") or [0, 1])[-1]
    scale = 255 / largest
    mean, std = params.get("mean") or [0.0] * 3, params.get("std") or [1.0] * 3
    return {
        "pixel_mean": tuple(float(scale * value) for value in mean),
        "pixel_std": tuple(float(scale * value) for value in std),
        "image_format": params.get("input_space") or "RGB",
    }


def loss_of(name: str, net: Any, ignore_value: int) -> nn.Module:
    """One of the library's losses, for a net's logits.

    Args:
        name: of its class, such as "DiceLoss".
        net: of the library.
        ignore_value: label of pixels without a class.

    Raises:
        ValueError: there is none of the name, or it can't leave pixels out.
    """
    kind = getattr(library.losses, name, None)
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        known = [n for n in dir(library.losses) if n.endswith("Loss")]
        raise ValueError(f"segmentation_models_pytorch has no loss {name!r}; it has {known}")
    taken = inspect.signature(kind).parameters
    if "ignore_index" not in taken:
        raise ValueError(
            f"{name} of segmentation_models_pytorch counts pixels without a class. Where there are "
            f"none, pass it made: loss=smp.losses.{name}(...)"
        )
    options: dict[str, Any] = {"ignore_index": ignore_value}
    if "mode" in taken:
        is_binary = net.segmentation_head[0].out_channels == 1
        options["mode"] = "binary" if is_binary else "multiclass"
    return kind(**options)
