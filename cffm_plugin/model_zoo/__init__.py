"""Configs and models by name, with the functions of detectron2's ``model_zoo``.

from cffm_plugin import model_zoo

model = model_zoo.get("vspw/cffm_mit_b1")
"""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from ..shipped_configs import get_config_file, list_configs
from .zoo import CHECKPOINTS, get, get_checkpoint_url, get_config

__all__ = [
    "CHECKPOINTS",
    "get",
    "get_checkpoint_url",
    "get_config",
    "get_config_file",
    "list_configs",
]
