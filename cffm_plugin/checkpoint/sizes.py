"""What a model's weights, in our names, tell of its sizes and of the config that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode
from torch import Tensor

from ..modeling.backbone import MIT_VARIANTS, SWIN_VARIANTS
from . import efficientnet_lite0

# Variants that configs/vspw has no config for -> the one to start from.
_NEAREST_CONFIG = {"mit_tiny": "mit_b0", "mit_b3": "mit_b5", "mit_b4": "mit_b5"}
_NEAREST_TV3S_CONFIG = _NEAREST_CONFIG | {"mit_tiny": "mit_b1", "mit_b0": "mit_b1"}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model.

    Attributes:
        variant: of the encoder: a key of ``MIT_VARIANTS`` or ``SWIN_VARIANTS``, or timm's name of
            EfficientNet-Lite0.
        embedding_channels: C; None for an encoder alone.
        num_classes: K; None without classifiers.
        temporal: the temporal module, as in MODEL.TEMPORAL.NAME; "" without a temporal part.
        temporal_depth: number of CFFM's or TV3S' blocks; 0 of others.
        num_heads: of CFFM's attention; 0 of others.
        deep_nets: whether MRCFA's nets are its deep ones.
        has_prototype_branch: whether there is CFFM++'s branch.
    """

    variant: str
    embedding_channels: int | None = None
    num_classes: int | None = None
    temporal: str = ""
    temporal_depth: int = 0
    num_heads: int = 0
    deep_nets: bool = False
    has_prototype_branch: bool = False


def sizes_of(weights: Mapping[str, Tensor]) -> Sizes:
    """Sizes of the model that weights in our names are of.

    Raises:
        ValueError: the encoder is none that a format has, or a weight that tells a size is missing.
    """
    variant = encoder_variant(weights)
    parts = {name.split(".")[0] for name in weights}
    if "sem_seg_head" not in parts:
        return Sizes(variant)
    predictor = weights.get("sem_seg_head.predictor.weight")
    temporal: dict[str, Any] = {}
    if any(name.startswith("temporal.module.nets.") for name in weights):
        deep = "temporal.module.nets.refine.0.1.conv.weight" in weights
        temporal = {"temporal": "MRCFA", "deep_nets": deep}
    elif "temporal.module.blocks.0.mixer.A_log" in weights:
        temporal = {
            "temporal": "TV3S",
            "temporal_depth": sum(name.endswith(".mixer.A_log") for name in weights),
        }
    elif "temporal" in parts:
        temporal = {
            "temporal": "CFFM",
            "temporal_depth": sum(name.endswith(".mining.window_bias") for name in weights),
            "num_heads": _rows(weights, "temporal.module.blocks.0.mining.window_bias"),
        }
    return Sizes(
        variant,
        embedding_channels=_rows(weights, "sem_seg_head.projections.res2.weight"),
        num_classes=None if predictor is None else len(predictor),
        has_prototype_branch="prototype_branch" in parts,
        **temporal,
    )


def encoder_variant(weights: Mapping[str, Tensor]) -> str:
    """Name of the EfficientNet-Lite0, or of the MiT or Swin whose sizes the weights have."""
    if efficientnet_lite0.TELLING in weights:
        return efficientnet_lite0.TIMM_NAME
    if "backbone.patch_embed.proj.weight" in weights:
        return _swin_variant(weights)
    dims, depths = [], []
    for stage in range(1, 5):
        dims.append(_rows(weights, f"backbone.patch_embed{stage}.proj.weight"))
        prefix = f"backbone.block{stage}."
        depths.append(len({k.split(".")[2] for k in weights if k.startswith(prefix)}))
    for name, variant in MIT_VARIANTS.items():
        if (variant.dims, variant.depths) == (tuple(dims), tuple(depths)):
            return name
    raise ValueError(f"widths {dims} and depths {depths} are those of no MiT, B0 to B5")


def _swin_variant(weights: Mapping[str, Tensor]) -> str:
    dim = _rows(weights, "backbone.patch_embed.proj.weight")
    depths = []
    for stage in range(4):
        prefix = f"backbone.layers.{stage}.blocks."
        depths.append(len({k.split(".")[4] for k in weights if k.startswith(prefix)}))
    for name, variant in SWIN_VARIANTS.items():
        if (variant.dim, variant.depths) == (dim, tuple(depths)):
            return name
    raise ValueError(f"width {dim} and depths {depths} are those of no Swin, T or S")


def config_for(sizes: Sizes) -> str:
    """The shipped config that is nearest to a model, relative to the repository's root."""
    if sizes.variant == efficientnet_lite0.TIMM_NAME:
        return "configs/camvid/cffm_efficientnet_lite0.yaml"
    if sizes.temporal == "TV3S" or sizes.variant in SWIN_VARIANTS:
        return f"configs/vspw/tv3s_{_NEAREST_TV3S_CONFIG.get(sizes.variant, sizes.variant)}.yaml"
    variant = _NEAREST_CONFIG.get(sizes.variant, sizes.variant)
    if sizes.has_prototype_branch:
        return f"configs/vspw/cffm_plus_{variant}.yaml"
    if sizes.temporal or sizes.embedding_channels is None:
        return f"configs/vspw/{(sizes.temporal or 'CFFM').lower()}_{variant}.yaml"
    return f"configs/vspw/segformer_{variant}.yaml"


def overrides_for(sizes: Sizes, cfg: CfgNode) -> list[str]:
    """``KEY VALUE`` pairs with which a config fits a model; none where it fits as it is."""
    wanted: dict[str, str | int | bool | None] = {
        "MODEL.MIT.NAME": sizes.variant if sizes.variant in MIT_VARIANTS else None,
        "MODEL.D2_SWIN.NAME": sizes.variant if sizes.variant in SWIN_VARIANTS else None,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": sizes.embedding_channels,
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": sizes.num_classes,
        "MODEL.CFFM.DEPTH": sizes.temporal_depth if sizes.temporal == "CFFM" else None,
        "MODEL.TV3S.DEPTH": sizes.temporal_depth if sizes.temporal == "TV3S" else None,
        "MODEL.CFFM.NUM_HEADS": sizes.num_heads or None,
        "MODEL.MRCFA.DEEP_NETS": sizes.deep_nets if sizes.temporal == "MRCFA" else None,
    }
    overrides: list[str] = []
    for key, value in wanted.items():
        node = cfg
        for part in key.split("."):
            node = node[part]
        if value is not None and node != value:
            overrides += [key, str(value)]
    return overrides


def _rows(weights: Mapping[str, Tensor], name: str) -> int:
    if name not in weights:
        raise ValueError(f"no {name}: weights are missing")
    return len(weights[name])
