"""Segmentors and clips that a test can afford to run."""

import torch
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

from cffm_plugin.modeling import MiT, SegFormerHead
from cffm_plugin.modeling.backbone import MIT_VARIANTS

NUM_CLASSES = 6
PIXELS = {"pixel_mean": [120.0, 115.0, 100.0], "pixel_std": [58.0, 57.0, 56.0]}


def make_parts(head="segformer"):
    torch.manual_seed(0)
    backbone = MiT(MIT_VARIANTS["mit_tiny"], size_divisibility=0 if head == "segformer" else 32)
    if head == "segformer":
        built = SegFormerHead(
            backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
        )
    else:
        built = SemSegFPNHead(
            backbone.output_shape(),
            num_classes=NUM_CLASSES,
            conv_dims=32,
            common_stride=4,
            norm="GN",
            ignore_value=255,
        )
    return {"backbone": backbone, "sem_seg_head": built, **PIXELS}


def make_clip(size=(64, 96), frames=4, labels=False, **extra):
    clip = {"image": [torch.randint(0, 256, (3, *size)).float() for _ in range(frames)], **extra}
    if labels:
        clip["sem_seg"] = [torch.randint(0, NUM_CLASSES, size) for _ in range(frames)]
    return clip
