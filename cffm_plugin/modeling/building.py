"""CFFMSegmentor from a config: around the image segmentor that it names, taken apart."""

import logging
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ASPP
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor

from ..core.agreement import check_agreement
from ..core.head_embedding import HeadEmbedding
from ..core.levels import output_shape_of
from ..core.nested import to_channels_last
from ..core.prototype_branch import PrototypeBranch
from .heads import embedding_of
from .heads.mask_classification import criterion_of
from .normalization import warn_of_unresolved_normalization
from .temporal import build_temporal_head

DEFAULT = "SemanticSegmentor"
_ANY_SIZE = (
    "this head of DeepLab's pools over windows of the training crop, which must tile every image. "
    "For images of any size, with the same weights, set MODEL.SEM_SEG_HEAD.NAME to "
    "AnySizeDeepLabV3Head or AnySizeDeepLabV3PlusHead, with projects/DeepLabV3Plus/head.py in "
    "MODEL.IMPORTS; or to a subclass made like these."
)

logger = logging.getLogger(__name__)


def segmentor_arguments(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of ``CFFMSegmentor``; raises what ``image_segmentor_of`` and
    ``check_agreement`` do."""
    warn_of_unresolved_normalization(cfg)
    arguments = image_segmentor_of(cfg)
    head = arguments["head"]
    for module in arguments["sem_seg_head"].modules():
        if isinstance(module, ASPP) and module.pool_kernel_size is not None:
            logger.warning("Images of any other size than INPUT.CROP.SIZE: %s", _ANY_SIZE)
            module.register_forward_pre_hook(_check_pooling)
    head.smallest_side = training_side(cfg)
    check_agreement(head, arguments["backbone"], head.smallest_side)
    arguments["activation_checkpointing"] = cfg.MODEL.ACTIVATION_CHECKPOINTING
    arguments["image_format"] = cfg.INPUT.FORMAT
    if cfg.MODEL.CHANNELS_LAST:  # what weights are in, feature maps come to be in
        for part in ("backbone", "sem_seg_head"):
            to_channels_last(arguments[part])
    node = cfg.MODEL.TEMPORAL
    if not node.ENABLED:
        return arguments
    temporal = build_temporal_head(
        cfg,
        embedding_channels=head.channels,
        output_shape=output_shape_of(arguments["backbone"]),
        num_classes=head.num_classes,
    )
    if node.PROTOTYPES.ENABLED:
        arguments["prototype_branch"] = PrototypeBranch(
            temporal.module.dim,
            num_classes=head.num_classes,
            num_heads=cfg.MODEL.CFFM.NUM_HEADS,
            dropout=node.DROPOUT,
        )
        arguments["prototype_logit_weight"] = node.PROTOTYPES.LOGIT_WEIGHT
    return arguments | {
        "temporal": temporal,
        "image_loss_weight": node.IMAGE_LOSS_WEIGHT,
        "video_loss_weight": node.VIDEO_LOSS_WEIGHT,
        "freeze_image_segmentor": node.FREEZE_IMAGE_SEGMENTER,
        "frame_offsets": node.FRAME_OFFSETS,
    }


def image_segmentor_of(cfg: CfgNode) -> dict[str, Any]:
    """The parts of the meta-architecture MODEL.IMAGE_ARCHITECTURE.

    Returns:
        arguments of ``CFFMSegmentor``: ``backbone``, ``sem_seg_head``, ``pixel_mean``,
        ``pixel_std`` and ``head``.

    Raises:
        ValueError: there is no such architecture, or it has no such parts.
    """
    name = cfg.MODEL.IMAGE_ARCHITECTURE
    if name == DEFAULT:
        arguments = SemanticSegmentor.from_config(cfg)
        arguments["head"] = embedding_of(
            arguments["sem_seg_head"], arguments["backbone"], len(cfg.MODEL.PIXEL_MEAN)
        )
        return arguments
    if name not in META_ARCH_REGISTRY or name == cfg.MODEL.META_ARCHITECTURE:
        raise ValueError(
            f"MODEL.IMAGE_ARCHITECTURE is {name}, expected the image segmentor that "
            f"{cfg.MODEL.META_ARCHITECTURE} wraps: {DEFAULT}, or the meta-architecture of another "
            "project, such as MaskFormer; name the module that registers it in MODEL.IMPORTS."
        )
    try:
        architecture = META_ARCH_REGISTRY.get(name)(cfg)
    except IndexError as error:
        if cfg.DATASETS.TRAIN:
            raise
        raise ValueError(
            f"MODEL.IMAGE_ARCHITECTURE {name} can't be built without a dataset, whose classes it "
            "asks for: name one in DATASETS.TRAIN, even to evaluate."
        ) from error
    parts = ("backbone", "sem_seg_head", "pixel_mean", "pixel_std")
    missing = [part for part in parts if not hasattr(architecture, part)]
    if missing:
        raise ValueError(
            f"MODEL.IMAGE_ARCHITECTURE: {name} can't be wrapped: it has no {', '.join(missing)}, "
            "which detectron2's SemanticSegmentor and MaskFormer have."
        )
    mean, std = architecture.pixel_mean, architecture.pixel_std
    return {
        "backbone": architecture.backbone,
        "sem_seg_head": architecture.sem_seg_head,
        "pixel_mean": mean.flatten().tolist(),
        "pixel_std": std.flatten().tolist(),
        "head": _head_of(architecture, cfg),
    }


def _head_of(architecture: Any, cfg: CfgNode) -> HeadEmbedding:
    node = cfg.MODEL.TEMPORAL
    head = embedding_of(
        architecture.sem_seg_head,
        architecture.backbone,
        architecture.pixel_mean.numel(),
        criterion=criterion_of(architecture),
        frozen=node.ENABLED and node.FREEZE_IMAGE_SEGMENTER,
        resize_first=getattr(architecture, "sem_seg_postprocess_before_inference", False),
    )
    # What the architecture pads images to; below 0 for its backbone's choice.
    divisibility = getattr(architecture, "size_divisibility", None)
    if divisibility is not None and divisibility >= 0:
        head.size_divisibility = divisibility
    return head


def training_side(cfg: CfgNode) -> int:
    """The side of training crops, for heads that pool over windows of that size."""
    crop = cfg.INPUT.CROP
    return int(max(crop.SIZE)) if crop.ENABLED and crop.TYPE == "absolute" else 64


def _check_pooling(aspp: Any, args: tuple[Any, ...]) -> None:
    """
    Raises:
        ValueError: a map that the windows of DeepLab's pooling do not tile.
    """
    (height, width), (rows, columns) = args[0].shape[-2:], aspp.pool_kernel_size
    if height % rows or width % columns:
        raise ValueError(
            f"A map of {height}x{width} cells does not divide into windows of {rows}x{columns}, "
            f"the training crop (INPUT.CROP.SIZE) at its stride: {_ANY_SIZE}"
        )
