"""Segmentors of ``create_model`` and ``wrap`` as folders: weights, and how they were made."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .files import whole_file, write_json
from .libraries import OptionalLibrary
from .model_folders import WEIGHTS

if TYPE_CHECKING:
    from .video_segmentor import VideoSegmentor

logger = logging.getLogger(__name__)

safetensors = OptionalLibrary("safetensors.torch", "Saving and loading models")

RECIPE = "segmentor.json"
NOT_KEPT = "not_kept"  # in a recipe: names of arguments that can't be written
# Of these, what from_pretrained takes in their place.
GIVEN_AGAIN = {"loss": "loss function", "temporal": "temporal module's class"}
_PLAIN = (str, int, float, bool, type(None))


def save_pretrained(model: "VideoSegmentor", folder: Path) -> Path:
    """See ``VideoSegmentor.save_pretrained``."""
    if model.recipe is None:
        raise ValueError(
            "Models of create_model, wrap and from_pretrained can be saved so; this is one of a "
            "config, or of parts that were made by hand. Of a config: cffm publish, or "
            "cffm_plugin.hub.save_pretrained(model, cfg, folder). Weights alone: "
            "torch.save(model.state_dict(), FILE)."
        )
    not_kept = model.recipe.get(NOT_KEPT, [])
    others = [name for name in not_kept if name not in GIVEN_AGAIN]
    if others:
        raise ValueError(
            f"{model.recipe['made_by']} was given {', '.join(others)} as an object, which can't be "
            "written: give it as numbers, text, or lists of them"
        )
    if not_kept:
        arguments = ", ".join(f"{name}={name}" for name in not_kept)
        logger.warning(
            "%s: code is not kept, so the %s is not; load it by from_pretrained(folder, %s)",
            folder,
            " and the ".join(GIVEN_AGAIN[name] for name in not_kept),
            arguments,
        )
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    with whole_file(folder / WEIGHTS) as file:
        safetensors.save_file(weights, str(file))
    write_json(folder / RECIPE, model.recipe)
    return folder


def read_recipe(folder: Path) -> dict[str, Any]:
    """
    Raises:
        ValueError: the file is none of ``save_pretrained``.
    """
    file = folder / RECIPE
    try:
        recipe = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} can't be read: {error}") from error
    kinds = ("create_model", "wrap")
    if not isinstance(recipe, dict) or recipe.get("made_by") not in kinds:
        raise ValueError(f'{file}: expected "made_by" to be one of {", ".join(kinds)}')
    if not isinstance(recipe.get("arguments"), dict):
        raise ValueError(f'{file}: expected "arguments", the keyword arguments of that function')
    return recipe


def load_weights(model: "VideoSegmentor", folder: Path) -> None:
    """
    Raises:
        ValueError: they are not of such a model.
    """
    file = folder / WEIGHTS
    try:
        weights = safetensors.load_file(str(file))
        model.load_state_dict(weights)
    except Exception as error:  # of many kinds
        raise ValueError(f"{file}: not the weights of this model: {error}") from error


def recipe_of(made_by: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """How a model was made. Arguments that can't be written, such as modules, are named alone."""
    plain = {name: _plain(value) for name, value in arguments.items()}
    not_kept = [name for name, value in plain.items() if value is _NOT_PLAIN]
    recipe: dict[str, Any] = {
        "made_by": made_by,
        "arguments": {name: value for name, value in plain.items() if name not in not_kept},
    }
    return recipe | ({NOT_KEPT: not_kept} if not_kept else {})


def given_again(
    recipe: Mapping[str, Any], folder: Path, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a recipe, and those of its ``NOT_KEPT`` that are given.

    Args:
        recipe: of ``read_recipe``.
        folder: for messages.
        given: name -> value, None where it is not given.

    Raises:
        ValueError: the temporal module is not given, or something that the model was not made with.
    """
    not_kept = recipe.get(NOT_KEPT, [])
    found = {name: value for name, value in given.items() if value is not None}
    unasked = [name for name in found if name not in not_kept]
    if unasked:
        raise ValueError(f"{folder}: {', '.join(unasked)} is not needed: the folder says it")
    if "temporal" in not_kept and "temporal" not in found:
        raise ValueError(
            f"{folder} is a model with a temporal module of its own: make it as it was and pass "
            "it, from_pretrained(folder, temporal=module)"
        )
    if "loss" in not_kept and "loss" not in found:
        logger.warning(
            "%s: it was trained with a loss of its own, which is not kept. It predicts as it did; "
            "to train it on, from_pretrained(folder, loss=loss), or it is the cross entropy",
            folder,
        )
    return recipe["arguments"] | found


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    return value if isinstance(value, _PLAIN) else _NOT_PLAIN
