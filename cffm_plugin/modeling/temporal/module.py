"""The registry by whose names a config chooses a temporal module, and building it."""

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.registry import Registry

from ...core.temporal_head import TemporalHead
from ...core.temporal_module import TemporalModule, check_temporal_module

TEMPORAL_REGISTRY = Registry("TEMPORAL")
TEMPORAL_REGISTRY.__doc__ = """
Temporal modules: what refines the embedding of a target frame by those of earlier frames.

An entry is called with the config, the number of channels of the image head's embedding, and what
the backbone's ``output_shape()`` says, and returns a ``WindowedModule`` or a ``RecurrentModule``.
"""


def build_temporal_head(
    cfg: CfgNode,
    *,
    embedding_channels: int,
    output_shape: Mapping[str, Any],
    num_classes: int,
) -> TemporalHead:
    """The temporal module of a config and its output.

    Args:
        cfg: the config.
        embedding_channels: of the image head's embedding.
        output_shape: of the backbone: name of a map -> what has ``channels`` and ``stride``.
        num_classes: K.

    Raises:
        ValueError: as ``build_temporal_module``; or there is no such MODEL.TEMPORAL.OUTPUT.
    """
    node = cfg.MODEL.TEMPORAL
    return TemporalHead(
        build_temporal_module(cfg, embedding_channels, output_shape),
        num_classes=num_classes,
        output=node.OUTPUT,
        dropout=node.DROPOUT,
        stride=node.STRIDE,
        embedding_channels=embedding_channels,
    )


def build_temporal_module(
    cfg: CfgNode, embedding_channels: int, output_shape: Mapping[str, Any]
) -> TemporalModule:
    """The temporal module that MODEL.TEMPORAL.NAME says.

    Args:
        cfg: the config.
        embedding_channels: of the image head's embedding.
        output_shape: of the backbone: name of a map -> what has ``channels`` and ``stride``.

    Raises:
        ValueError: it is no temporal module; or, windowed, takes another number of references than
            MODEL.TEMPORAL.FRAME_OFFSETS has.
    """
    node = cfg.MODEL.TEMPORAL
    if node.NAME not in TEMPORAL_REGISTRY:
        raise ValueError(
            f"MODEL.TEMPORAL.NAME is {node.NAME}, but there is no temporal module of this name. "
            f"Registered are {', '.join(name for name, _ in TEMPORAL_REGISTRY)}."
        )
    entry = TEMPORAL_REGISTRY.get(node.NAME)
    if missing := sorted(getattr(entry, "__abstractmethods__", ())):
        raise ValueError(
            f"MODEL.TEMPORAL.NAME: {node.NAME} lacks {', '.join(missing)}. docs/extend.md shows "
            "what a temporal module has."
        )
    module = entry(cfg, embedding_channels, output_shape)
    check_temporal_module(module)
    if module.clip_length not in (None, len(node.FRAME_OFFSETS) + 1):
        raise ValueError(
            f"{node.NAME} takes {module.clip_length - 1} reference frames, but "
            f"MODEL.TEMPORAL.FRAME_OFFSETS is {tuple(node.FRAME_OFFSETS)}: one offset for each"
        )
    return module
