"""What detectron2's registries get of this package."""

from . import (  # noqa: F401  (they fill registries)
    data,
    evaluation,
    modeling,
    needs_detectron2,
    synthetic,
)
from .hub_files import register_hub_paths

register_hub_paths()
