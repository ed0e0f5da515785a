"""The config that a command works with."""

from collections.abc import Sequence

from detectron2.config import CfgNode

from ...checkpoint import load_stored_config
from ...config import load_config
from ...engine import complete_config


def read_config(config_file: str, overrides: Sequence[str]) -> CfgNode:
    """That of a file, or of a shipped one's name; without it, that which MODEL.WEIGHTS carries."""
    cfg = load_config(config_file, overrides) if config_file else load_stored_config(overrides)
    complete_config(cfg)
    return cfg
