"""Nets of the files that their libraries wrote."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from ..libraries import OptionalLibrary
from .huggingface_files import read_model_config, transformers
from .huggingface_loading import load_model
from .rebuilding import rebuild, segmentors_of_transformers

safetensors = OptionalLibrary("safetensors.torch", "Weights of segmentation_models_pytorch")


def open_net(source: str) -> tuple[nn.Module, Any]:
    """A net with its weights, and its processor, if it has one.

    Weights are read from safetensors, and no code of the folder is run.

    Args:
        source: a folder of ``save_pretrained`` of transformers or segmentation_models_pytorch; or a
            model of transformers by its name on the Hugging Face hub.

    Raises:
        FileNotFoundError: there is none, or it lacks weights in safetensors.
        ValueError: it is no segmentor.
    """
    file = Path(source, "config.json")
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "_model_class" in content:
            return _open_smp(Path(source), content), None
    config = read_model_config(source)
    known = segmentors_of_transformers()
    names = [name for name in config.architectures or () if name in known]
    if not names:
        found = " or ".join(config.architectures or ()) or "of no named architecture"
        raise ValueError(
            f"{source} is {found}, which is no segmentor of transformers. Those are "
            f"{', '.join(known)}."
        )
    model = load_model(source, config, names[0])
    return model, _processor_of(source, names[0])


def _processor_of(source: str, architecture: str) -> Any:
    if architecture.startswith("OneFormer"):
        return transformers.AutoProcessor.from_pretrained(source, trust_remote_code=False)
    try:
        return transformers.AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError):  # no preprocessor_config.json, or none that is known
        return None


def _open_smp(folder: Path, content: dict[str, Any]) -> nn.Module:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} holds no {weights.name}, from which weights are read")
    config = {key: value for key, value in content.items() if not key.startswith("_")}
    recipe = {
        "library": "segmentation_models_pytorch",
        "class": content["_model_class"],
        "config": config,
    }
    net: Any = rebuild(recipe)
    net.load_state_dict(safetensors.load_file(str(weights)))
    if config.get("encoder_weights"):
        net._hub_mixin_config = config  # what images were normalised for
    return net
