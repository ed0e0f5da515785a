"""The config that a checkpoint carries, for those who have nothing but the checkpoint."""

import logging
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, get_cfg

from ..config import add_cffm_config, check_pairs, load_config, merge_under_overrides
from ..errors import not_yaml, text_of
from ..libraries import import_library
from .model_info import read_model_info

# What a config may say of modules to import. A checkpoint may not.
_NAMES_OF_CODE = ("IMPORTS", "CONFIG_ADDERS")
# What was of the machine that trained: files, weights of a pretraining. The checkpoint has it all.
_OF_THE_TRAINING = {
    "DATASETS": {"VIDEO_FOLDERS": ()},
    "MODEL": {"TIMM": {"CHECKPOINT": "", "PRETRAINED": False}, "HF": {"PRETRAINED": False}},
}

logger = logging.getLogger(__name__)


def load_stored_config(overrides: Sequence[str]) -> CfgNode:
    """The config of the checkpoint that the override MODEL.WEIGHTS names, with all overrides.

    Its text is read as plain YAML. It reads no other file (building a model of MODEL.HF then reads
    that one's config.json), and nothing that it names is imported: MODEL.IMPORTS and
    MODEL.CONFIG_ADDERS in it are left out, which is logged.

    Args:
        overrides: a flat sequence ``["KEY", "VALUE", ...]``.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        KeyError: an override's key does not exist.
        ValueError: MODEL.WEIGHTS is not among them; the checkpoint has no config, or one that can't
            be used here.
    """
    check_pairs(overrides)
    named = [value for key, value in zip(overrides[::2], overrides[1::2]) if key == "MODEL.WEIGHTS"]
    path = str(CfgNode._decode_cfg_value(named[-1])) if named else ""
    if not path:
        load_config("", overrides)  # a key that is misspelt says more
        raise ValueError("Name a config file; or in MODEL.WEIGHTS a checkpoint that carries one.")
    info = read_model_info(path)
    if info is None or not info.config:
        raise ValueError(
            f"{path} carries no config, which only checkpoints of this package's trainer, and "
            "what was published of them, do. Name the config file that it was trained with."
        )
    return config_of_text(info.config, path, overrides)


def config_of_text(text: str, path: str, overrides: Sequence[str]) -> CfgNode:
    """A stranger's config, with all overrides; see ``load_stored_config``.

    Args:
        text: YAML.
        path: where it was found, for messages.
        overrides: a flat sequence ``["KEY", "VALUE", ...]``.

    Raises:
        KeyError: an override's key does not exist.
        ValueError: the config can't be used here.
    """
    cfg = get_cfg()
    add_cffm_config(cfg)
    merge_under_overrides(cfg, lambda cfg: _merge_text(cfg, text, path), overrides)
    logger.info("The config is that which %s carries", path)
    return cfg


def _merge_text(cfg: CfgNode, text: str, path: str) -> None:
    yaml = import_library("yaml", "The config in a checkpoint")
    try:
        stored = yaml.safe_load(text)
        if not isinstance(stored, dict):
            raise ValueError(f"expected keys, got {type(stored).__name__}")
        stored.pop("_BASE_", None)
        _leave_out_code(stored, path)
        cfg.merge_from_other_cfg(CfgNode(stored))
        cfg.merge_from_other_cfg(CfgNode(_OF_THE_TRAINING))
    except (KeyError, ValueError, AssertionError, RecursionError, yaml.YAMLError) as error:
        reason = not_yaml(error) if isinstance(error, yaml.YAMLError) else text_of(error)
        raise ValueError(
            f"The config that {path} carries can't be used here ({reason}). Name the "
            "config file that it was trained with, and in MODEL.IMPORTS what it needs."
        ) from error


def _leave_out_code(stored: dict[str, Any], path: str) -> None:
    for node, prefix in ((stored, ""), (stored.get("MODEL"), "MODEL.")):
        for key in _NAMES_OF_CODE:
            if isinstance(node, dict) and node.pop(key, None):
                logger.warning("%s%s in the config of %s is left out", prefix, key, path)
