"""Where each kind of model is taken apart: its encoder, and what remains as a head.

A kind is a class of transformers. What takes a model of it apart changes the model, which is used
no more: the classifier is taken out of its decoder, so that the decoder gives the embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .backbone import FeatureMaps, HFBackbone, HiddenStates, ReassembledTokens
from .dense_head import DPTDecoder, HFDenseHead
from .mask_head import (
    HFMaskHead,
    Mask2FormerPixelDecoder,
    Mask2FormerQueries,
    MaskFormerPixelDecoder,
    MaskFormerQueries,
)

HFHead = HFDenseHead | HFMaskHead


@dataclass(frozen=True)
class Family:
    """How a kind of model becomes a backbone and a head.

    Attributes:
        classifiers: a model -> its layers that depend on the number of classes.
        split: a model and the label of pixels without a class -> the backbone and the head.
        needs: libraries besides transformers.
    """

    classifiers: Callable[[Any], list[Any]]
    split: Callable[[Any, int], tuple[HFBackbone, HFHead]]
    needs: tuple[str, ...] = ()


def split_segformer(model: Any, ignore_value: int) -> tuple[HFBackbone, HFDenseHead]:
    """Any size; the embedding is at stride 4, before the classifier of the all-MLP decoder."""
    backbone = HFBackbone(HiddenStates(model.segformer))
    return backbone, _dense_head(backbone, model.decode_head, ignore_value)


def split_upernet(model: Any, ignore_value: int) -> tuple[HFBackbone, HFDenseHead]:
    """Images are padded, see ``_padded_backbone``."""
    backbone = _padded_backbone(model.backbone)
    return backbone, _dense_head(backbone, model.decode_head, ignore_value)


def _dense_head(backbone: HFBackbone, decoder: Any, ignore_value: int) -> HFDenseHead:
    """Of a decoder that ends in ``classifier``, at the stride of the finest map."""
    predictor, decoder.classifier = decoder.classifier, nn.Identity()
    stride = _finest_stride(backbone)
    return HFDenseHead(decoder, predictor, stride=stride, ignore_value=ignore_value)


def _padded_backbone(encoder: Any) -> HFBackbone:
    """Of transformers' ``AutoBackbone``, for images that are padded to multiples of 32, which
    ConvNeXt and others cut off; of the patches, which ViTs cut off; or of ViTs' windows."""
    patch = getattr(encoder.config, "patch_size", 32)
    patch = max(patch) if isinstance(patch, Sequence) else patch
    return HFBackbone(FeatureMaps(encoder), (32, patch, 4 * patch))


def split_dpt(model: Any, ignore_value: int) -> tuple[HFBackbone, HFDenseHead]:
    """Images are padded to multiples of two patches; the neck's part that makes maps of tokens goes
    to the backbone.

    Raises:
        ValueError: the model is a hybrid with a convolutional stem; or its maps have no whole
            number of pixels a cell, as with patches of 14 pixels.
    """
    config = model.config
    if config.is_hybrid:
        raise ValueError("MODEL.HF.NAME: of DPT, hybrids with a convolutional stem don't split")
    encoder = ReassembledTokens(
        model.dpt,
        model.neck.reassemble_stage,
        tuple(config.backbone_out_indices),
        config.patch_size,
    )
    backbone = HFBackbone(encoder, (2 * config.patch_size,))
    model.neck.reassemble_stage = None
    # The coarsest map is fused with none before it, and this would never have a gradient.
    model.neck.fusion_stage.layers[0].residual_layer1.requires_grad_(False)
    layers = model.head.head
    predictor, layers[DPT_CLASSIFIER] = layers[DPT_CLASSIFIER], nn.Identity()
    stride, rest = divmod(_finest_stride(backbone), 4)  # doubled by the fusion, and by the head
    if rest:
        raise ValueError(
            f"MODEL.HF.NAME: the maps of this DPT, of patches of {config.patch_size} pixels, end "
            "with less than a pixel a cell. Take another model."
        )
    decoder = DPTDecoder(model.neck, model.head)
    return backbone, HFDenseHead(decoder, predictor, stride=stride, ignore_value=ignore_value)


def split_mask2former(model: Any, ignore_value: int) -> tuple[HFBackbone, HFMaskHead]:
    """Images are padded; the embedding is the pixel decoder's mask features."""
    pixel_level = model.model.pixel_level_module
    backbone = _padded_backbone(pixel_level.encoder)
    head = HFMaskHead(
        Mask2FormerPixelDecoder(pixel_level.decoder),
        Mask2FormerQueries(model.model.transformer_module, model.class_predictor),
        model.criterion,
        channels=model.config.mask_feature_size,
        stride=_finest_stride(backbone),
        num_classes=model.config.num_labels,
        ignore_value=ignore_value,
        mask_size=(384, 384),  # whatever the image's, as transformers' processor does it
    )
    return backbone, head


def split_maskformer(model: Any, ignore_value: int) -> tuple[HFBackbone, HFMaskHead]:
    """Images are padded; the embedding is the pixel decoder's mask features."""
    pixel_level = model.model.pixel_level_module
    backbone = _padded_backbone(pixel_level.encoder)
    head = HFMaskHead(
        MaskFormerPixelDecoder(pixel_level.decoder),
        MaskFormerQueries(
            model.model.transformer_module,
            model.mask_embedder,
            model.class_predictor,
            model.config.use_auxiliary_loss,
        ),
        model.criterion,
        channels=model.config.mask_feature_size,
        stride=_finest_stride(backbone),
        num_classes=model.config.num_labels,
        ignore_value=ignore_value,
        mask_size=None,
    )
    return backbone, head


def _finest_stride(backbone: HFBackbone) -> int:
    return min(shape.stride for shape in backbone.output_shape().values())


DPT_CLASSIFIER = 4  # of the layers of its head: convolution, norm, ReLU, dropout, this, upsampling

FAMILIES = {
    "SegformerForSemanticSegmentation": Family(
        lambda model: [model.decode_head.classifier], split_segformer
    ),
    "UperNetForSemanticSegmentation": Family(
        lambda model: [model.decode_head.classifier], split_upernet
    ),
    "DPTForSemanticSegmentation": Family(
        lambda model: [model.head.head[DPT_CLASSIFIER]], split_dpt
    ),
    "Mask2FormerForUniversalSegmentation": Family(
        lambda model: [model.class_predictor], split_mask2former, needs=("scipy",)
    ),
    "MaskFormerForInstanceSegmentation": Family(
        lambda model: [model.class_predictor], split_maskformer, needs=("scipy",)
    ),
}


def architecture_of(name: str, config: Any) -> str:
    """The class of transformers that a model was saved from, a key of ``FAMILIES``.

    Args:
        name: of the model.
        config: of transformers.

    Raises:
        ValueError: it is none of them.
    """
    found = list(config.architectures or ())
    for architecture in found:
        if architecture in FAMILIES:
            return architecture
    raise ValueError(
        f"MODEL.HF.NAME: {name} is {' or '.join(found) or 'of no named architecture'} "
        f"({config.model_type}). Those that become video segmentors are {', '.join(FAMILIES)}."
    )
