"""Segmentors by a call: a MiT with CFFM by name, or of an image segmentor's parts."""

import difflib
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import nn

from . import defaults
from .cffm import CFFM
from .clip_segmentor import ClipSegmentor
from .head_embedding import HeadEmbedding
from .levels import output_shape_of
from .memory import CFFMMemory
from .mit import MIT_VARIANTS, MiT
from .mrcfa import MRCFA
from .recall import CFFMRecall
from .segformer import SegFormerHead
from .temporal_head import TemporalHead
from .tv3s import TV3S

TEMPORAL_MODULES: dict[str, Any] = {
    "CFFM": CFFM,
    "CFFMRecall": CFFMRecall,
    "CFFMMemory": CFFMMemory,
    "MRCFA": MRCFA,
    "TV3S": TV3S,
}
# Name -> kind, encoder.
MODELS = {
    f"{kind}_{encoder}": (kind, encoder) for kind in defaults.KINDS for encoder in MIT_VARIANTS
}

AnySegmentor = TypeVar("AnySegmentor", bound=ClipSegmentor)


def create_segmentor(
    kind_of: type[AnySegmentor],
    name: str,
    num_classes: int,
    *,
    embedding_channels: int = defaults.EMBEDDING_CHANNELS,
    drop_path_rate: float = defaults.DROP_PATH_RATE,
    dropout: float = defaults.DROPOUT,
    ignore_value: int = 255,
    **arguments: Any,
) -> AnySegmentor:
    """See ``cffm_plugin.create_model``."""
    if name not in MODELS:
        near = ", ".join(difflib.get_close_matches(name, MODELS)) or ", ".join(MODELS)
        raise ValueError(f"There is no model {name!r}; there are {near}.")
    kind, encoder = MODELS[name]
    backbone = MiT(MIT_VARIANTS[encoder], drop_path_rate=drop_path_rate)
    head = SegFormerHead(
        backbone.output_shape(),
        num_classes=num_classes,
        embedding_channels=embedding_channels,
        dropout=dropout,
        ignore_value=ignore_value,
    )
    options = {"dropout": dropout, **defaults.KINDS[kind], **arguments}
    temporal = options.get("temporal", defaults.TEMPORAL)
    if isinstance(temporal, str):
        options = {**defaults.ON_ENCODER.get(temporal, {}).get(encoder, {}), **options}
    return assemble_segmentor(kind_of, backbone, head, HeadEmbedding(head, backbone), **options)


def assemble_segmentor(
    kind_of: type[AnySegmentor],
    backbone: nn.Module,
    sem_seg_head: nn.Module,
    head: HeadEmbedding,
    *,
    temporal: str | nn.Module | None = defaults.TEMPORAL,
    output: str = defaults.OUTPUT,
    stride: int = defaults.STRIDE,
    dropout: float = defaults.DROPOUT,
    pixel_mean: Sequence[float] = defaults.PIXEL_MEAN,
    pixel_std: Sequence[float] = defaults.PIXEL_STD,
    image_loss_weight: float = defaults.IMAGE_LOSS_WEIGHT,
    video_loss_weight: float = defaults.VIDEO_LOSS_WEIGHT,
    frame_offsets: Sequence[int] | None = None,
    image_format: str = "RGB",
    freeze_image_segmentor: bool = False,
    activation_checkpointing: bool = False,
    **module_arguments: Any,
) -> AnySegmentor:
    """A segmentor of an image segmentor's parts, with a temporal module.

    Args:
        kind_of: its class.
        backbone, sem_seg_head, head: as of ``ClipSegmentor``.
        temporal: a name in ``TEMPORAL_MODULES``, a temporal module of your own, or None.
        output, stride, dropout: as of ``TemporalHead``.
        pixel_mean, pixel_std, image_loss_weight, video_loss_weight, frame_offsets, image_format,
            freeze_image_segmentor, activation_checkpointing: as of ``ClipSegmentor``.
        module_arguments: of a temporal module that is named, such as CFFM's ``depth``.

    Raises:
        TypeError: nothing takes an argument, as CFFM's without its name.
        ValueError: no such temporal module or output, or it looks at maps that ``backbone`` lacks.
    """
    module = _module(temporal, head.channels, backbone, module_arguments)
    temporal_head = None
    if module is not None:
        temporal_head = TemporalHead(
            module,
            num_classes=head.num_classes,
            output=output,
            dropout=dropout,
            stride=stride,
            embedding_channels=head.channels,
        )
    return kind_of(
        backbone=backbone,
        sem_seg_head=sem_seg_head,
        head=head,
        temporal=temporal_head,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        image_loss_weight=image_loss_weight,
        video_loss_weight=video_loss_weight,
        frame_offsets=frame_offsets,
        image_format=image_format,
        freeze_image_segmentor=freeze_image_segmentor,
        activation_checkpointing=activation_checkpointing,
    )


def _module(
    temporal: str | nn.Module | None, channels: int, backbone: nn.Module, arguments: dict[str, Any]
) -> Any:
    """The temporal module that is asked for; raises what ``assemble_segmentor`` says."""
    if arguments and not isinstance(temporal, str):
        raise TypeError(
            f"{', '.join(arguments)}: no arguments of a segmentor. If of a temporal "
            f"module, they need temporal to be one of {', '.join(TEMPORAL_MODULES)}; it is "
            + ("None" if temporal is None else f"a {type(temporal).__name__}, made already")
        )
    if temporal is None or isinstance(temporal, nn.Module):
        return temporal
    if temporal not in TEMPORAL_MODULES:
        raise ValueError(
            f"temporal is one of {', '.join(TEMPORAL_MODULES)}, a module of your own, or None; got "
            f"{temporal!r}"
        )
    try:
        return TEMPORAL_MODULES[temporal].build(channels, output_shape_of(backbone), **arguments)
    except TypeError as error:
        unknown = [
            name for name in arguments if f"unexpected keyword argument '{name}'" in str(error)
        ]
        if not unknown:
            raise
        raise TypeError(
            f"{unknown[0]}: no argument of a segmentor, nor of {temporal}, its temporal module. "
            "Those of streams, such as smoothing, are items of its stream_options"
        ) from error
