"""Where libraries' segmentors are taken apart, and what they say of themselves."""

from .reading import open_net
from .rebuilding import net_recipe, rebuild
from .taking_apart import take_net_apart

__all__ = ["net_recipe", "open_net", "rebuild", "take_net_apart"]
