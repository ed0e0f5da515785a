"""Configs and models by name, with the functions of detectron2's ``model_zoo``.

from cffm_plugin import model_zoo

model = model_zoo.get("vspw/cffm_mit_b1")
"""

from pathlib import Path

from .. import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import build_and_load
from ..config import load_config
from ..engine import complete_config
from ..modeling import build_segmentor
from ..shipped_configs import configs_folder, get_config_file, list_configs

__all__ = [
    "CHECKPOINTS",
    "get",
    "get_checkpoint_url",
    "get_config",
    "get_config_file",
    "list_configs",
]

# Name of a config -> where weights that were trained with it are, as in MODEL.WEIGHTS. None are
# published so far: those of the papers are their authors' to give away (MODEL_ZOO.md).
CHECKPOINTS: dict[str, str] = {}


def get_checkpoint_url(name: str) -> str:
    """Where the trained weights of a config are, to be used as MODEL.WEIGHTS.

    Raises:
        FileNotFoundError: there is no config of that name.
        RuntimeError: no trained weights are published for it.
    """
    file = Path(get_config_file(name))
    plain = file.relative_to(configs_folder()).with_suffix("").as_posix()  # as list_configs has it
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
    cfg = load_config(get_config_file(name))
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint_url(name)
    return cfg


def get(name: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """The model of ``get_config``, in training mode as detectron2's ``model_zoo.get`` gives it.

    Args:
        name: of the config.
        trained: with the weights of ``get_checkpoint_url``. False: with random ones.
        device: such as "cpu"; by default MODEL.DEVICE, or the CPU where there is no GPU.

    Raises:
        ValueError: the weights don't fit. Besides, what ``get_config`` raises.
    """
    cfg = get_config(name, trained)
    if device is not None:
        cfg.MODEL.DEVICE = device
    complete_config(cfg)
    return build_and_load(cfg) if trained else build_segmentor(cfg)
