"""The config that a command works with, and where it logs to."""

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ...checkpoint import load_stored_config
from ...config import load_config
from ...engine import complete_config


def read_config(config_file: str, overrides: Sequence[str]) -> CfgNode:
    """That of a file, or of a shipped one's name; without it, that which MODEL.WEIGHTS carries."""
    cfg = load_config(config_file, overrides) if config_file else load_stored_config(overrides)
    complete_config(cfg)
    return cfg


def log_to_terminal() -> None:
    """What this package and detectron2's library log of the main process goes to the terminal."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name, distributed_rank=comm.get_rank())
