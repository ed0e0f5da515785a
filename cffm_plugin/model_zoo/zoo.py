"""What detectron2's ``model_zoo`` does, for the configs that this package ships."""

from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import build_and_load
from ..config import load_config
from ..engine import completed
from ..modeling import build_segmentor
from ..shipped_configs import configs_folder, get_config_file

# Name of a config -> where weights that were trained with it are, as in MODEL.WEIGHTS. None are
# published so far: those of the papers are their authors' to give away (MODEL_ZOO.md).
CHECKPOINTS: dict[str, str] = {}


def get_checkpoint_url(name: str) -> str:
    """Where the trained weights of a config are, to be used as MODEL.WEIGHTS.

    Raises:
        FileNotFoundError: there is no config of that name.
        RuntimeError: no trained weights are published for it.
    """
    plain = _plain_name(name)
    if plain not in CHECKPOINTS:
        raise RuntimeError(
            f"No trained weights are published for {plain}. Where the authors of the papers put "
            "theirs, and how to convert them, is in MODEL_ZOO.md; name the result in MODEL.WEIGHTS."
        )
    return CHECKPOINTS[plain]


def get_config(name: str, trained: bool = False) -> CfgNode:
    """The config of a name, over the defaults of detectron2 and of this package.

    Args:
        name: such as "vspw/cffm_mit_b1", with or without ".yaml".
        trained: MODEL.WEIGHTS becomes ``get_checkpoint_url``'s. False keeps the config's own, which
            is what training starts from.

    Raises:
        FileNotFoundError: there is no config of that name; the error has the nearest.
        RuntimeError: ``trained``, and no weights are published for it.
    """
    weights = ["MODEL.WEIGHTS", get_checkpoint_url(name)] if trained else []
    return load_config(get_config_file(name), weights)


def get(name: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """The model of a config, in training mode as detectron2's ``model_zoo.get`` gives it.

    Args:
        name: such as "vspw/cffm_mit_b1", with or without ".yaml".
        trained: with the weights of ``get_checkpoint_url``. False: with random ones.
        device: such as "cpu"; by default MODEL.DEVICE, or the CPU where there is no GPU.

    Raises:
        FileNotFoundError: there is no config of that name; the error has the nearest.
        RuntimeError: ``trained``, and no weights are published for it.
        ValueError: the weights don't fit.
    """
    cfg = get_config(name, trained)
    cfg = completed(cfg, {} if device is None else {"MODEL.DEVICE": device})
    return build_and_load(cfg) if trained else build_segmentor(cfg)


def _plain_name(name: str) -> str:
    """As ``list_configs`` has it."""
    file = get_config_file(name)
    return file.removeprefix(f"{configs_folder()}/").removesuffix(".yaml")
