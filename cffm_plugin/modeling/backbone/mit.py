"""The Mix Transformer as an entry of detectron2's registry."""

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.build import ShapeSpec

from ... import core
from ...core.mit import MIT_VARIANTS


class MiT(core.MiT, Backbone):
    """``cffm_plugin.core.MiT`` as a detectron2 backbone."""

    output_shape = Backbone.output_shape


@BACKBONE_REGISTRY.register()
def build_mit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> MiT:
    """The MiT that ``cfg.MODEL.MIT`` names."""
    name = cfg.MODEL.MIT.NAME
    if name not in MIT_VARIANTS:
        raise ValueError(f"MODEL.MIT.NAME: expected one of {sorted(MIT_VARIANTS)}, got {name!r}")
    return MiT(
        MIT_VARIANTS[name],
        out_features=cfg.MODEL.MIT.OUT_FEATURES,
        drop_path_rate=cfg.MODEL.MIT.DROP_PATH_RATE,
        in_channels=input_shape.channels,
        size_divisibility=cfg.MODEL.MIT.SIZE_DIVISIBILITY,
    )
