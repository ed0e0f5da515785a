"""Models of transformers, made tiny and saved as their users save them."""

import math

import torch
from transformers import (
    ConvNextConfig,
    DetrConfig,
    DPTConfig,
    DPTForSemanticSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

NAMES = ["wall", "sky", "tree", "road", "car", "cat"]
CLASSES = {"id2label": dict(enumerate(NAMES)), "label2id": {n: k for k, n in enumerate(NAMES)}}
STAGES = {"out_features": [f"stage{n}" for n in (1, 2, 3, 4)], "depths": [1, 1, 1, 1]}
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def _swin():
    return SwinConfig(embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4, image_size=64, **STAGES)


def make_segformer():
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **CLASSES,
    )
    return SegformerForSemanticSegmentation(config), SegformerImageProcessor(
        image_mean=MEAN, image_std=STD
    )


def make_upernet():
    """Without a preprocessor_config.json."""
    backbone = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], **STAGES)
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_channels=8, num_labels=len(NAMES)
    )
    return UperNetForSemanticSegmentation(config), None


def make_dpt():
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        image_size=64,
        **CLASSES,
    )
    return DPTForSemanticSegmentation(config), None


def make_mask2former():
    config = Mask2FormerConfig(
        backbone_config=_swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=32,
        num_attention_heads=4,
        num_queries=7,
        train_num_points=64,
        **CLASSES,
    )
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessor()


def make_maskformer():
    decoder = DetrConfig(
        d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=32, num_queries=7
    )
    config = MaskFormerConfig(
        backbone_config=_swin(),
        decoder_config=decoder,
        fpn_feature_size=32,
        mask_feature_size=32,
        use_auxiliary_loss=True,
        **CLASSES,
    )
    return MaskFormerForInstanceSegmentation(config), MaskFormerImageProcessor()


MODELS = {
    "segformer": make_segformer,
    "upernet": make_upernet,
    "dpt": make_dpt,
    "mask2former": make_mask2former,
    "maskformer": make_maskformer,
}


def save_model(kind, folder):
    """A model whose outputs differ from pixel to pixel, and its processor, in a folder."""
    torch.manual_seed(0)
    model, processor = MODELS[kind]()
    with torch.no_grad():  # transformers' start gives logits of a thousandth
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return model.eval()
