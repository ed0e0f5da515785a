"""Models as folders that others can load by name: weights, config and model card.

from cffm_plugin.hub import from_pretrained

segmentor = from_pretrained("owner/repository")  # or a folder; a StreamingSegmentor
"""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .card import Scores, model_card, read_scores
from .loading import from_pretrained, pretrained_config
from .pushing import push_to_hub
from .saving import CARD, CONFIG, save_pretrained

__all__ = [
    "CARD",
    "CONFIG",
    "Scores",
    "from_pretrained",
    "model_card",
    "pretrained_config",
    "push_to_hub",
    "read_scores",
    "save_pretrained",
]
