"""Where commands log to."""

from detectron2.utils import comm
from detectron2.utils.logger import setup_logger


def log_to_terminal() -> None:
    """What this package and detectron2's library log of the main process goes to the terminal."""
    for name in ("fvcore", "cffm_plugin"):
        setup_logger(name=name, distributed_rank=comm.get_rank())
