"""SegFormer's authors' own files: segmentors (ADE20K, Cityscapes) and ImageNet encoders."""

from .conversion import ENCODER, Format, register_format
from .official import SEGFORMER_RULES
from .rules import Drop, Rename, Rule

ENCODER_RULES: tuple[Rule, ...] = (
    Rename(ENCODER, r"backbone.\1.\2"),
    Drop(r"head\.(weight|bias)", "ImageNet's classifier"),
)

register_format(
    Format(
        "SegFormer segmentor",
        r"decode_head\.linear_c1\.proj\.weight",
        SEGFORMER_RULES,
        unless=r"decode_head\.decoder_(focal|swin)\..+",
    )
)
register_format(
    Format("SegFormer ImageNet encoder (MiT)", r"patch_embed1\.proj\.weight", ENCODER_RULES)
)
