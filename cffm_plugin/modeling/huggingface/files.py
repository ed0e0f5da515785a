"""What a model of Hugging Face's says of itself beside its weights: its kind, classes, and images.

Nothing of a model is ever run: ``trust_remote_code`` is False throughout.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...libraries import OptionalLibrary

transformers = OptionalLibrary("transformers", "build_hf_segmenter (MODEL.HF)")

# Mean and standard deviation per channel in units of 0..255, and "RGB" or "BGR".
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
        raise FileNotFoundError(f"MODEL.HF.NAME: the folder {name} holds no config.json")
    try:
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except OSError as error:
        raise FileNotFoundError(
            f"MODEL.HF.NAME: {name} is no folder on this machine, and the Hugging Face hub gave no "
            f"such model. transformers says: {error}"
        ) from error


def read_pixel_statistics(name: str) -> PixelStatistics | None:
    """How a model's own processor normalises images; None where its files do not say.

    Args:
        name: as in ``read_model_config``, of a model that is there.
    """
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError):  # no preprocessor_config.json, or none that is known
        return None
    return pixel_statistics(processor.to_dict())


def pixel_statistics(processor: Mapping[str, Any]) -> PixelStatistics | None:
    """What the content of a preprocessor_config.json says; None where it does not say.

    ``image_mean`` and ``image_std`` are of pixels that ``rescale_factor`` has been applied to.
    """
    mean: Any = processor.get("image_mean")
    std: Any = processor.get("image_std")
    if not processor.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    try:
        return (
            tuple(round(value / scale, 4) for value in mean),
            tuple(round(value / scale, 4) for value in std),
            "BGR" if processor.get("do_flip_channel_order") else "RGB",
        )
    except (TypeError, ZeroDivisionError):  # one of them is missing, or something else
        return None


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
