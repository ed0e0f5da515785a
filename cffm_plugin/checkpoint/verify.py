"""Proving that converted weights fill a whole model."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core import CFFM, MRCFA, TV3S
from ..modeling import (
    CFFMSegmentor,
    MiT,
    PrototypeBranch,
    SegFormerHead,
    TemporalHead,
    TimmBackbone,
)
from ..modeling.backbone import MIT_VARIANTS, SWIN_VARIANTS, Swin
from .conversion import is_classifier
from .sizes import Sizes, sizes_of


def verify_complete(weights: Mapping[str, Tensor], *, new_classifier: bool = False) -> int:
    """Prove, by a strict load, that weights in our names fill a model of their sizes.

    Args:
        weights: of CFFM++, CFFM, MRCFA, TV3S, an image segmentor, or of an encoder alone.
        new_classifier: the classifiers were left out; all but them must be there.

    Returns:
        the number of parameters in the weights.

    Raises:
        ValueError: the encoder is none that a format has, or weights are missing, left over or of
            another shape.
    """
    with torch.device("meta"):  # sizes only: nothing is allocated or initialised
        model = _model_of(sizes_of(weights))
    ignored = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if new_classifier and is_classifier(name) and name not in weights
    }
    try:
        model.load_state_dict({**weights, **ignored}, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the converted weights do not fill the model: {error}") from error
    return sum(p.numel() for name, p in model.named_parameters() if name not in ignored)


def _model_of(sizes: Sizes) -> nn.Module:
    backbone: Any
    if sizes.variant in SWIN_VARIANTS:
        with torch.device("cpu"):  # Detectron2's reads values as it is made
            backbone = Swin(SWIN_VARIANTS[sizes.variant])
    elif sizes.variant in MIT_VARIANTS:
        backbone = MiT(MIT_VARIANTS[sizes.variant])
    else:
        backbone = TimmBackbone(sizes.variant)
    if sizes.embedding_channels is None:
        return nn.ModuleDict({"backbone": backbone})
    dim = sizes.embedding_channels
    num_classes = sizes.num_classes or 1  # 1: the classifiers were left out, so any number does
    temporal, branch = None, None
    if sizes.temporal == "MRCFA":
        mrcfa = MRCFA.build(dim, backbone.output_shape(), deep_nets=sizes.deep_nets)
        temporal = TemporalHead(mrcfa, num_classes=num_classes, output="refined")
    elif sizes.temporal == "TV3S":
        tv3s = TV3S.build(dim, backbone.output_shape(), depth=sizes.temporal_depth)
        temporal = TemporalHead(tv3s, num_classes=num_classes, output="refined")
    elif sizes.temporal == "CFFM":
        cffm = CFFM(dim, sizes.temporal_depth, num_heads=sizes.num_heads)
        temporal = TemporalHead(cffm, num_classes=num_classes, output="classifier")
    if sizes.has_prototype_branch:
        branch = PrototypeBranch(dim, num_classes=num_classes, num_heads=sizes.num_heads or 8)
    return CFFMSegmentor(
        backbone=backbone,
        sem_seg_head=SegFormerHead(
            backbone.output_shape(), num_classes=num_classes, embedding_channels=dim, norm="BN"
        ),
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        temporal=temporal,
        prototype_branch=branch,
    )
