"""The registry by whose names a config chooses a temporal module, and building it."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.registry import Registry
from torch import nn

from ...core.temporal_head import TemporalHead

TEMPORAL_REGISTRY = Registry("TEMPORAL")
TEMPORAL_REGISTRY.__doc__ = """
Temporal modules: what refines the embedding of a target frame by those of earlier frames.

An entry is called with the config and the number of channels of the image head's embedding, and
returns a ``torch.nn.Module`` that offers ``TemporalModule``.
"""


def build_temporal_head(cfg: CfgNode, *, embedding_channels: int, num_classes: int) -> TemporalHead:
    """The temporal module of a config and its output.

    Args:
        cfg: the config.
        embedding_channels: of the image head's embedding.
        num_classes: K.

    Raises:
        ValueError: as ``build_temporal_module``; or there is no such MODEL.TEMPORAL.OUTPUT.
    """
    node = cfg.MODEL.TEMPORAL
    return TemporalHead(
        build_temporal_module(cfg, embedding_channels),
        num_classes=num_classes,
        output=node.OUTPUT,
        dropout=node.DROPOUT,
        stride=node.STRIDE,
        embedding_channels=embedding_channels,
    )


def build_temporal_module(cfg: CfgNode, embedding_channels: int) -> Any:
    """The temporal module that MODEL.TEMPORAL.NAME says.

    Args:
        cfg: the config.
        embedding_channels: of the image head's embedding.

    Raises:
        ValueError: it does not offer the contract, or takes another number of references than
            MODEL.TEMPORAL.FRAME_OFFSETS has.
    """
    node = cfg.MODEL.TEMPORAL
    if node.NAME not in TEMPORAL_REGISTRY:
        raise ValueError(
            f"MODEL.TEMPORAL.NAME is {node.NAME}, but there is no temporal module of this name. "
            f"Registered are {', '.join(name for name, _ in TEMPORAL_REGISTRY)}."
        )
    module = TEMPORAL_REGISTRY.get(node.NAME)(cfg, embedding_channels)
    needed = ("dim", "num_references", "assemble", "mine")
    missing = [name for name in needed if not hasattr(module, name)]
    if missing or not isinstance(module, nn.Module):
        raise ValueError(
            f"MODEL.TEMPORAL.NAME: {node.NAME} is no temporal module: expected a torch.nn.Module "
            f"with {', '.join(needed)}; it lacks {', '.join(missing) or 'being a Module'}. "
            "docs/extend.md shows one."
        )
    if module.num_references != len(node.FRAME_OFFSETS):
        raise ValueError(
            f"{node.NAME} takes {module.num_references} reference frames, but "
            f"MODEL.TEMPORAL.FRAME_OFFSETS is {tuple(node.FRAME_OFFSETS)}: one offset for each"
        )
    return module
