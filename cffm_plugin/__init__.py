"""CFFM: coarse-to-fine feature mining for video semantic segmentation, as a Detectron2 plug-in.

``cffm_plugin.CFFM`` is pure torch. Where detectron2 is installed, importing this package also
registers the meta-architecture, backbones, heads and datasets with detectron2's registries.

Paper: Sun et al., "Coarse-to-Fine Feature Mining for Video Semantic Segmentation", CVPR 2022.
"""

from typing import Any

from .core import CFFM
from .libraries import check_detectron2

__version__ = "0.1.0"
__all__ = ["CFFM", "__version__", "add_cffm_config"]

_NEED_DETECTRON2 = (
    *("add_cffm_config", "checkpoint", "cli", "config", "data", "doctor", "engine", "evaluation"),
    *("export", "hub", "inference", "model_zoo", "modeling", "report", "synthetic"),
)

try:
    check_detectron2()
except ImportError:

    def __getattr__(name: str) -> Any:
        if name in _NEED_DETECTRON2:
            check_detectron2()  # raises
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

else:
    from . import data, evaluation, modeling, synthetic  # noqa: F401  (they fill registries)
    from .config import add_cffm_config
    from .hub_files import register_hub_paths

    register_hub_paths()
