"""A tiny net of every segmentor of transformers and segmentation_models_pytorch, weights random."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cffm_plugin.libraries import OptionalLibrary

NUM_CLASSES = 6
transformers: Any = OptionalLibrary("transformers", "Segmentors of transformers")
smp: Any = OptionalLibrary("segmentation_models_pytorch", "Segmentors of this library")

Size = tuple[int, int]


@dataclass(frozen=True)
class Specimen:
    """A net, and what its library makes of an image.

    Attributes:
        make: the net.
        scores: what it gives and the size of its image -> the library's own semantic scores
            (1, K, H, W).
        sizes: of images that it takes, at least one that is no square where it takes any.
        options: of ``cffm_plugin.wrap``.
        error: why it can't be wrapped, as ``cffm_plugin.wrap`` begins to say it; "" where it can.
    """

    make: Callable[[], nn.Module]
    scores: Callable[[Any, Size], Tensor]
    sizes: tuple[Size, ...] = ((64, 96), (75, 101))
    options: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def straight(output: Any, size: Size) -> Tensor:
    """As transformers' processors of dense models do it."""
    logits = output.logits if hasattr(output, "logits") else output
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def processed(processor: str, **options: Any) -> Callable[[Any, Size], Tensor]:
    """As a processor of transformers does it."""

    def scores(output: Any, size: Size) -> Tensor:
        made = getattr(transformers, processor)(**options)
        (result,) = made.post_process_semantic_segmentation(
            output, target_sizes=[size], return_segmentation_scores=True
        )
        return result.segmentation_scores[None]

    return scores


def semantic_at(output: Any, size: Size) -> Tensor:
    """EoMT's post-processing, of an image of its own size."""
    masks = F.interpolate(output.masks_queries_logits, size=size, mode="bilinear")
    classes = output.class_queries_logits.softmax(dim=-1)[..., :-1]
    return torch.einsum("nqk,nqhw->nkhw", classes, masks.sigmoid())


def with_visible_logits(net: nn.Module) -> nn.Module:
    """Weights with which outputs differ from pixel to pixel, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.1 * noise)
    return net.eval()


_VIT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
_STAGES: dict[str, Any] = {
    "out_features": [f"stage{n}" for n in (1, 2, 3, 4)],
    "depths": [1, 1, 1, 1],
}
_QUERIES: dict[str, Any] = {"num_queries": 7, "train_num_points": 64}


def _of(name: str, **options: Any) -> Callable[[], nn.Module]:
    """A model of transformers; options that are functions are called first."""

    def make() -> nn.Module:
        made = {k: v() if callable(v) else v for k, v in options.items()}
        kind = getattr(transformers, name)
        return kind(kind.config_class(num_labels=NUM_CLASSES, **made))

    return make


def _config(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, name)(**options)


_SWIN = _config(
    "SwinConfig", embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, **_STAGES
)
_CONVNEXT = _config("ConvNextConfig", hidden_sizes=[8, 8, 16, 16], **_STAGES)
_DINOV2 = _config(
    "Dinov2Config",
    hidden_size=16,
    num_hidden_layers=4,
    num_attention_heads=2,
    mlp_ratio=2,
    image_size=56,
    patch_size=14,
    out_features=_STAGES["out_features"],
)
_BEIT: dict[str, Any] = {
    **_VIT,
    "image_size": 64,
    "patch_size": 16,
    "out_indices": [1, 2, 3, 4],
    "use_auxiliary_head": True,
}
_DPT: dict[str, Any] = {
    **_VIT,
    "backbone_out_indices": [0, 1, 2, 3],
    "neck_hidden_sizes": [8, 8, 16, 16],
    "fusion_hidden_size": 16,
    "image_size": 64,
}
_UPERNET: dict[str, Any] = {"hidden_size": 16, "auxiliary_channels": 8}
_EOMT: dict[str, Any] = {
    **_VIT,
    **_QUERIES,
    "num_blocks": 2,
    "image_size": 64,
    "num_upscale_blocks": 2,
}
_PIXEL_DECODER: dict[str, Any] = {
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 32,
    "encoder_layers": 1,
    "dim_feedforward": 32,
    "num_attention_heads": 4,
}
_MOBILEVIT: dict[str, Any] = {
    "hidden_sizes": [16, 24, 32],
    "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
    "num_attention_heads": 2,
    "aspp_out_channels": 16,
    "image_size": 64,
}
_TIPS = _config(
    "Tipsv2VisionConfig",
    **_VIT,
    image_size=56,
    patch_size=14,
    out_indices=[1, 2, 3, 4],
    apply_layernorm=True,
    reshape_hidden_states=False,
)
TASK = [3, 1, 4, 1, 5, 0, 0, 0]  # any tokens

TRANSFORMERS: dict[str, Specimen] = {
    "Beit": Specimen(
        _of("BeitForSemanticSegmentation", use_relative_position_bias=True, **_BEIT),
        straight,
        ((64, 96), (80, 48)),
    ),
    "Data2VecVision": Specimen(
        _of("Data2VecVisionForSemanticSegmentation", use_relative_position_bias=True, **_BEIT),
        straight,
        ((64, 64), (40, 51)),
    ),
    "DPT": Specimen(_of("DPTForSemanticSegmentation", **_DPT), straight, ((64, 96), (160, 32))),
    "MobileNetV2": Specimen(
        _of("MobileNetV2ForSemanticSegmentation", depth_multiplier=0.25, min_depth=4), straight
    ),
    "MobileViT": Specimen(_of("MobileViTForSemanticSegmentation", **_MOBILEVIT), straight),
    "MobileViTV2": Specimen(
        _of(
            "MobileViTV2ForSemanticSegmentation",
            width_multiplier=0.25,
            n_attn_blocks=[1, 1, 1],
            aspp_out_channels=16,
            image_size=64,
        ),
        straight,
    ),
    "Sapiens2": Specimen(
        _of(
            "Sapiens2ForSemanticSegmentation",
            num_key_value_attention_heads=2,
            image_size=64,
            head_config={"upsample_out_channels": [16, 16], "conv_out_channels": [16]},
            **_VIT,
        ),
        straight,
        ((64, 96), (80, 48)),
    ),
    "Segformer": Specimen(
        _of(
            "SegformerForSemanticSegmentation",
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 8, 16, 16],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
        ),
        straight,
    ),
    "Tipsv2Dpt": Specimen(
        _of(
            "Tipsv2DptForSemanticSegmentation",
            backbone_config=_TIPS,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=16,
        ),
        straight,
        error="decoder.head makes 32 cells on 56 pixels",
    ),
    "UperNet, ConvNeXt": Specimen(
        _of("UperNetForSemanticSegmentation", backbone_config=_CONVNEXT, **_UPERNET),
        straight,
        ((64, 96), (76, 100)),
    ),
    "UperNet, Swin": Specimen(
        _of("UperNetForSemanticSegmentation", backbone_config=_SWIN, **_UPERNET), straight
    ),
    "UperNet, DINOv2": Specimen(
        _of("UperNetForSemanticSegmentation", backbone_config=_DINOV2, **_UPERNET),
        straight,
        ((70, 98), (56, 84)),
    ),
    "Mask2Former": Specimen(
        _of(
            "Mask2FormerForUniversalSegmentation",
            backbone_config=_SWIN,
            feature_size=32,
            decoder_layers=2,
            **_QUERIES,
            **_PIXEL_DECODER,
        ),
        processed("Mask2FormerImageProcessor"),
    ),
    "MaskFormer": Specimen(
        _of(
            "MaskFormerForInstanceSegmentation",
            backbone_config=_SWIN,
            decoder_config=_config(
                "DetrConfig",
                d_model=32,
                decoder_layers=2,
                decoder_attention_heads=4,
                decoder_ffn_dim=32,
                num_queries=7,
            ),
            fpn_feature_size=32,
            mask_feature_size=32,
            use_auxiliary_loss=True,
        ),
        processed("MaskFormerImageProcessor"),
    ),
    "OneFormer": Specimen(
        _of(
            "OneFormerForUniversalSegmentation",
            backbone_config=_SWIN,
            conv_dim=32,
            mask_dim=32,
            decoder_layers=3,
            query_dec_layers=1,
            task_seq_len=len(TASK),
            **_QUERIES,
            **{k: v for k, v in _PIXEL_DECODER.items() if k != "mask_feature_size"},
        ),
        processed("MaskFormerImageProcessor"),  # OneFormer's does the same, and wants its files
        options={"task_inputs": TASK},
    ),
    "Eomt": Specimen(
        _of("EomtForUniversalSegmentation", patch_size=16, **_EOMT),
        processed("EomtImageProcessor", size={"shortest_edge": 64, "longest_edge": 64}),
        ((64, 64), (40, 51)),
    ),
    "EomtDinov3": Specimen(
        _of("EomtDinov3ForUniversalSegmentation", patch_size=16, **_EOMT),
        semantic_at,
        ((64, 96), (80, 48)),
    ),
    "Detr": Specimen(
        _of("DetrForSegmentation", backbone_config=_config("ResNetConfig", **_STAGES)),
        straight,
        error="DetrForSegmentation of transformers can't be wrapped",
    ),
    "Videomt": Specimen(
        _of("VideomtForUniversalSegmentation", patch_size=16, **_EOMT),
        straight,
        error="VideomtForUniversalSegmentation of transformers can't be wrapped",
    ),
}


# Architecture -> its encoder here, and sizes that it takes.
SMP: dict[str, tuple[str, tuple[Size, ...]]] = {
    "Unet": ("mobilenet_v2", ((64, 96), (75, 101))),
    "UnetPlusPlus": ("mobilenet_v2", ((64, 96), (96, 32))),
    "MAnet": ("mobilenet_v2", ((64, 96), (96, 32))),
    "Linknet": ("mobilenet_v2", ((64, 96), (96, 32))),
    "FPN": ("mobilenet_v2", ((64, 96), (96, 32))),
    "PSPNet": ("mobilenet_v2", ((64, 96), (72, 104))),
    "DeepLabV3": ("mobilenet_v2", ((64, 96), (72, 104))),
    "DeepLabV3Plus": ("mobilenet_v2", ((64, 96), (80, 112))),
    "PAN": ("mobilenet_v2", ((128, 144), (176, 128))),
    "UPerNet": ("mobilenet_v2", ((64, 96), (96, 32))),
    "Segformer": ("mobilenet_v2", ((64, 96), (96, 32))),
    "DPT": ("tu-test_vit", ((160, 160), (120, 97))),
}


def make_smp(name: str, classes: int = NUM_CLASSES, **options: Any) -> nn.Module:
    """A net of an architecture, its decoder narrow where that is an option."""
    narrow_decoders: dict[str, dict[str, Any]] = {
        "MAnet": {"decoder_channels": (32, 16, 16, 8, 8)},
        "UnetPlusPlus": {"decoder_channels": (32, 16, 16, 8, 8)},
        "DeepLabV3": {"decoder_channels": 32},
        "UPerNet": {"decoder_channels": 32},
        "PSPNet": {"psp_out_channels": 32},
        "DPT": {"decoder_intermediate_channels": (16, 16, 16, 16), "decoder_fusion_channels": 16},
    }
    kind = getattr(smp, name)
    encoder, _ = SMP[name]
    made = kind(
        encoder, encoder_weights=None, classes=classes, **(narrow_decoders.get(name, {}) | options)
    )
    return with_visible_logits(made)
