"""TV3S as an entry of the registry of temporal modules."""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode

from ... import core
from .module import TEMPORAL_REGISTRY


@TEMPORAL_REGISTRY.register()
def TV3S(  # noqa: N802  (its name in configs)
    cfg: CfgNode, embedding_channels: int, output_shape: Mapping[str, Any]
) -> core.TV3S:
    """``cffm_plugin.core.TV3S``, with its arguments from MODEL.TV3S."""
    node = cfg.MODEL.TV3S
    arguments: dict[str, Any] = {}
    if node.MODE == "clip":
        arguments["num_references"] = len(cfg.MODEL.TEMPORAL.FRAME_OFFSETS)
    return core.TV3S.build(
        embedding_channels,
        output_shape,
        mode=node.MODE,
        depth=node.DEPTH,
        window_size=node.WINDOW_SIZE,
        shift=node.SHIFT,
        num_states=node.NUM_STATES,
        window_drop_rate=node.WINDOW_DROP_RATE,
        **arguments,
    )
