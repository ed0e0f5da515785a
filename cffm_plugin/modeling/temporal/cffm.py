"""CFFM, and CFFM with recall, as entries of the registry of temporal modules."""

from typing import Any

from detectron2.config import CfgNode, configurable

from ... import core
from ...core.cffm import width_for_heads
from .module import TEMPORAL_REGISTRY


@TEMPORAL_REGISTRY.register()
class CFFM(core.CFFM):
    """``cffm_plugin.CFFM``, with its arguments from MODEL.CFFM."""

    @configurable
    def __init__(self, dim: int, depth: int = 2, **arguments: Any):
        super().__init__(dim, depth, **arguments)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, embedding_channels: int, output_shape: Any
    ) -> dict[str, Any]:
        node, offsets = cfg.MODEL.CFFM, cfg.MODEL.TEMPORAL.FRAME_OFFSETS
        if len(offsets) != len(node.REFERENCE_POOLS):
            raise ValueError(
                "MODEL.TEMPORAL.FRAME_OFFSETS, MODEL.CFFM.REFERENCE_POOLS and "
                "MODEL.CFFM.REFERENCE_KERNELS hold one number per reference frame, got "
                f"{offsets} and {node.REFERENCE_POOLS}"
            )
        return _cffm_arguments(node, embedding_channels)


@TEMPORAL_REGISTRY.register()
class CFFMRecall(core.CFFMRecall):
    """``cffm_plugin.core.CFFMRecall``, with its arguments from MODEL.CFFM."""

    @configurable
    def __init__(self, dim: int, depth: int = 2, **arguments: Any):
        super().__init__(dim, depth, **arguments)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, embedding_channels: int, output_shape: Any
    ) -> dict[str, Any]:
        own = CFFM.from_config(cfg, embedding_channels, output_shape)
        return own | _recall_arguments(cfg.MODEL.CFFM)


@TEMPORAL_REGISTRY.register()
class CFFMMemory(core.CFFMMemory):
    """``cffm_plugin.core.CFFMMemory``, with its arguments from MODEL.CFFM."""

    @configurable
    def __init__(self, dim: int, depth: int = 2, **arguments: Any):
        super().__init__(dim, depth, **arguments)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, embedding_channels: int, output_shape: Any
    ) -> dict[str, Any]:
        node = cfg.MODEL.CFFM
        memory = {"memory_frames": node.MEMORY_FRAMES, "context_pool": node.CONTEXT_POOL}
        return _cffm_arguments(node, embedding_channels) | _recall_arguments(node) | memory


def _cffm_arguments(node: CfgNode, embedding_channels: int) -> dict[str, Any]:
    return {
        "dim": width_for_heads(embedding_channels, node.NUM_HEADS),
        "depth": node.DEPTH,
        "num_heads": node.NUM_HEADS,
        "window_size": node.WINDOW_SIZE,
        "reference_pools": node.REFERENCE_POOLS,
        "reference_kernels": node.REFERENCE_KERNELS,
        "target_kernel": node.TARGET_KERNEL,
        "mlp_ratio": node.MLP_RATIO,
    }


def _recall_arguments(node: CfgNode) -> dict[str, Any]:
    return {"recall_radius": node.RECALL_RADIUS, "recall_key_dim": node.RECALL_KEY_DIM}
