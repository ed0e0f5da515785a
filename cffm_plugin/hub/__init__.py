"""Models as folders that others can load by name: weights, config and model card.

model = cffm_plugin.from_pretrained("owner/repository")  # or a folder
"""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .loading import pretrained_config
from .pushing import push_to_hub
from .saving import save_pretrained

__all__ = ["pretrained_config", "push_to_hub", "save_pretrained"]
