"""SegFormer's authors' own files: segmentors (ADE20K, Cityscapes) and ImageNet encoders."""

from .official import SEGFORMER_RULES
from .rules import ENCODER, TENSOR, Drop, Format, Rename

SEGFORMER = Format(
    "SegFormer segmentor",
    r"decode_head\.linear_c1\.proj\.weight",
    SEGFORMER_RULES,
    unless=r"decode_head\.(decoder_(focal|swin)|vs)\..+",
)
MIT_ENCODER = Format(
    "SegFormer ImageNet encoder (MiT)",
    r"patch_embed1\.proj\.weight",
    (
        Rename(ENCODER, r"backbone.\1.\2"),
        Drop(r"head" + TENSOR, "ImageNet's classifier"),
    ),
)
