"""Nets of libraries from what they say of themselves, so that a saved model needs no net."""

import json
from typing import Any

from torch import nn

from ..libraries import import_library
from . import huggingface, smp
from .huggingface_files import transformers

Recipe = dict[str, Any]


def net_recipe(net: Any) -> Recipe | None:
    """What ``rebuild`` makes such a net of, as plain data; None for nets of no known library."""
    recipe: Recipe | None = None
    name = huggingface.class_name(net)
    if name is not None:
        recipe = {"library": "transformers", "class": name, "config": net.config.to_dict()}
    elif smp.is_net(net) and smp.config_of(net):
        config = {k: v for k, v in smp.config_of(net).items() if not k.startswith("_")}
        recipe = {
            "library": "segmentation_models_pytorch",
            "class": type(net).__name__,
            "config": config | {"encoder_weights": None},
        }
    try:
        return recipe if recipe is None else json.loads(json.dumps(recipe))
    except TypeError:  # made with an object
        return None


def rebuild(recipe: Recipe) -> nn.Module:
    """A net as it was made, with random weights; nothing is downloaded, and no code is run but its
    library's.

    Raises:
        ModuleNotFoundError: the library is not installed.
        ValueError: it is no recipe of ``net_recipe``.
    """
    library, name, config = (recipe.get(key) for key in ("library", "class", "config"))
    if library == "transformers" and name in segmentors_of_transformers():
        kind = getattr(transformers, name)
        return kind(kind.config_class.from_dict(dict(config or {})))
    if library == "segmentation_models_pytorch" and name in architectures_of_smp():
        return getattr(smp.library, name)(**(dict(config or {}) | {"encoder_weights": None}))
    raise ValueError(f"{library} {name}: no segmentor that can be made anew; pass net=, it")


def segmentors_of_transformers() -> list[str]:
    """Names of classes."""
    auto = import_library("transformers.models.auto.modeling_auto", "A model of transformers")
    return [
        *auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES.values(),
        *auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES.values(),
    ]


def architectures_of_smp() -> list[str]:
    """Names of classes."""
    return [kind.__name__ for kind in smp.library.MODEL_ARCHITECTURES_MAPPING.values()]
