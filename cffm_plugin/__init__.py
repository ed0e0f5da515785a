"""CFFM: coarse-to-fine feature mining for video semantic segmentation, as a Detectron2 plug-in.

``cffm_plugin.CFFM`` is pure torch. Where detectron2 is installed, importing this package also
registers the meta-architecture, backbones, heads and datasets with detectron2's registries.

Paper: Sun et al., "Coarse-to-Fine Feature Mining for Video Semantic Segmentation", CVPR 2022.
"""

from typing import Any

from .core import CFFM

__version__ = "0.1.0"
__all__ = ["CFFM", "__version__", "add_cffm_config"]

_GET_DETECTRON2 = (
    "cffm_plugin.{name} needs detectron2, which is not installed. In a clone of this project, "
    "`make setup` installs it. Elsewhere: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/detectron2.git' (INSTALL.md shows another way that "
    "needs only PyPI). CFFM itself, cffm_plugin.CFFM, works without it."
)


def _detectron2_is_installed() -> bool:
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        if error.name not in (None, "detectron2"):
            raise  # detectron2 is there, but something that it needs is not
        return False
    return True


if _detectron2_is_installed():
    from . import data, evaluation, modeling, synthetic  # noqa: F401  (they fill registries)
    from .config import add_cffm_config
else:

    def __getattr__(name: str) -> Any:
        if name in ("add_cffm_config", "checkpoint", "data", "engine", "evaluation", "modeling"):
            raise ImportError(_GET_DETECTRON2.format(name=name), name="detectron2")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
