"""What a model of Hugging Face's says of itself beside its weights: its kind, classes, and images.

Nothing of a model is ever run: ``trust_remote_code`` is False throughout.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..libraries import OptionalLibrary

transformers = OptionalLibrary("transformers", "A model of Hugging Face's (wrap, MODEL.HF)")

# Mean and standard deviation per channel in units of 0..255, in the order "RGB" or "BGR", and it.
PixelStatistics = tuple[tuple[float, ...], tuple[float, ...], str]


def read_model_config(name: str) -> Any:
    """The ``transformers`` config of a model.

    Args:
        name: MODEL.HF.NAME, a local folder or a name on the Hugging Face hub.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        FileNotFoundError: there is no such folder, no config.json in it, and no such model on the
            hub, or the hub can't be reached.
        ValueError: ``name`` is empty, or transformers does not know the model's kind.
    """
    if not name:
        raise ValueError(
            "MODEL.HF.NAME is empty: name a folder that save_pretrained wrote, or a model of the "
            "Hugging Face hub such as nvidia/segformer-b1-finetuned-ade-512-512."
        )
    if Path(name).is_dir() and not Path(name, "config.json").is_file():
        raise FileNotFoundError(f"{name} (net, or MODEL.HF.NAME): the folder holds no config.json")
    try:
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} is no folder on this machine, and the Hugging Face hub gave no such model "
            f"(net, or MODEL.HF.NAME). transformers says: {error}"
        ) from error


def read_pixel_statistics(name: str) -> PixelStatistics | None:
    """How a model's own processor normalises images; None where its files do not say.

    Args:
        name: as in ``read_model_config``, of a model that is there.

    Raises:
        ValueError: the processor does more than to normalise each channel.
    """
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError):  # no preprocessor_config.json, or none that is known
        return None
    statistics = pixel_statistics(processor)
    if statistics is None:
        raise ValueError(
            f"MODEL.HF.NAME: what {type(processor).__name__} of {name} makes of pixels is no mean "
            "and standard deviation of each channel. MODEL.HF.OWN_NORMALIZATION False keeps "
            "MODEL.PIXEL_MEAN, MODEL.PIXEL_STD and INPUT.FORMAT."
        )
    return statistics


def pixel_statistics(processor: Any) -> PixelStatistics | None:
    """What an image processor of transformers does to pixels; None where it is something else.

    It is tried on three images of one colour each: what a file leaves out is the default of the
    processor's class, which differs from class to class, as do the order of channels and what is
    added and multiplied. Six significant digits, which float32 leaves of it.
    """
    processor = copy.deepcopy(processor)
    for step in ("do_resize", "do_center_crop", "do_pad"):
        setattr(processor, step, False)
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0)]
    images = [np.full((64, 64, 3), colour, np.uint8) for colour in colours]
    try:
        pixels = [processor(image, return_tensors="np")["pixel_values"] for image in images]
        black, white, red = (np.float64(p).reshape(3, 64, 64)[:, 32, 32] for p in pixels)
    except Exception:  # whatever processors raise that want a text, or give patches
        return None
    scale = (white - black) / 255
    if not scale.all():
        return None
    order = np.flatnonzero(~np.isclose(red, black))
    if list(order) not in ([0], [2]) or not np.isclose(red[order], white[order]):
        return None
    mean, std = (
        tuple(float(f"{v:.6g}") for v in values) for values in (0 - black / scale, 1 / scale)
    )
    return mean, std, "RGB" if order[0] == 0 else "BGR"


def class_names(labels: Any, num_classes: int) -> tuple[str, ...]:
    """K names from the ``id2label`` of a model's config.

    Args:
        labels: class -> name; a class is a number, or a text in JSON.
        num_classes: K.

    Returns:
        () where there are none, or not K: transformers writes LABEL_0, LABEL_1 then.
    """
    if not isinstance(labels, Mapping) or len(labels) != num_classes:
        return ()
    found = [labels.get(k, labels.get(str(k))) for k in range(num_classes)]
    names = tuple(name for name in found if isinstance(name, str))
    if len(names) != num_classes or names == tuple(f"LABEL_{k}" for k in range(num_classes)):
        return ()
    return names
