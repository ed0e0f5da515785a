"""MRCFA as an entry of the registry of temporal modules."""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode, configurable

from ... import core
from ...core.levels import level_shapes
from .module import TEMPORAL_REGISTRY


@TEMPORAL_REGISTRY.register()
class MRCFA(core.MRCFA):
    """``cffm_plugin.core.MRCFA``, with its arguments from MODEL.MRCFA."""

    @configurable
    def __init__(self, dim: int, level_channels: Any, **arguments: Any):
        super().__init__(dim, level_channels, **arguments)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, embedding_channels: int, output_shape: Mapping[str, Any]
    ) -> dict[str, Any]:
        node = cfg.MODEL.MRCFA
        shapes = level_shapes(output_shape, node.LEVELS, "MRCFA (MODEL.MRCFA.LEVELS)")
        return {
            "dim": embedding_channels,
            "level_channels": [shape.channels for shape in shapes],
            "levels": node.LEVELS,
            "num_references": len(cfg.MODEL.TEMPORAL.FRAME_OFFSETS),
            "keep": node.KEEP,
            "deep_nets": node.DEEP_NETS,
            "score_cells": node.SCORE_CELLS,
        }
