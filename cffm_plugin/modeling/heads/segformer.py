"""SegFormer's decoder as an entry of detectron2's registry."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

from ... import core


@SEM_SEG_HEADS_REGISTRY.register()
class SegFormerHead(core.SegFormerHead):
    """``cffm_plugin.core.SegFormerHead``, with its arguments from MODEL.SEM_SEG_HEAD.

    Args:
        norm: by its name in ``detectron2.layers.get_norm``.
        Others: as there.
    """

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        num_classes: int,
        norm: str = "SyncBN",
        **arguments: Any,
    ):
        super().__init__(
            input_shape, num_classes=num_classes, norm=partial(get_norm, norm), **arguments
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        missing = [name for name in head.IN_FEATURES if name not in input_shape]
        if missing:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES names {missing}, but the backbone "
                f"{cfg.MODEL.BACKBONE.NAME} offers {sorted(input_shape)}"
            )
        norm = head.NORM
        if norm == "SyncBN" and cfg.MODEL.DEVICE == "cpu":
            norm = "naiveSyncBN"  # torch's own synchronises on GPUs only
        return {
            "input_shape": {name: input_shape[name] for name in head.IN_FEATURES},
            "num_classes": head.NUM_CLASSES,
            "embedding_channels": head.CONVS_DIM,
            "dropout": head.DROPOUT,
            "norm": norm,
            "ignore_value": head.IGNORE_VALUE,
            "loss_weight": head.LOSS_WEIGHT,
        }
