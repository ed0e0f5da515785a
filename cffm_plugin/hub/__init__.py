"""Models as folders that others can load by name: weights, config and model card.

model = cffm_plugin.from_pretrained("owner/repository")  # or a folder
"""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .card import model_card
from .loading import load_model, pretrained_config
from .pushing import push_to_hub
from .saving import CARD, CONFIG, save_pretrained

__all__ = [
    "CARD",
    "CONFIG",
    "load_model",
    "model_card",
    "pretrained_config",
    "push_to_hub",
    "save_pretrained",
]
