"""Every backbone under every head: shapes, agreement with detectron2, gradients.

What the heads ask of a backbone differs. SegFormerHead and DeepLabV3PlusHead resize one map to
another, so they take images of any size. SemSegFPNHead only doubles sizes and needs images padded
to multiples of 32, which is the backbone's to ask for: MiT and timm models by their config keys
SIZE_DIVISIBILITY. detectron2's ResNet can't ask for it; SemSegFPNHead is made for an FPN around it,
which does, and which is what detectron2's own configs put there.

test_plain_vits.py asks the same of timm's plain ViTs and of Hiera, under SegFormerHead.
"""

import math

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import FPN, SemanticSegmentor, ShapeSpec
from detectron2.modeling.backbone import build_resnet_backbone
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.projects.deeplab import DeepLabV3PlusHead, add_deeplab_config
from tiny_models import NUM_CLASSES, PIXELS, make_clip

from cffm_plugin import CFFM
from cffm_plugin.core import MRCFA, TV3S, CFFMMemory, CFFMRecall
from cffm_plugin.modeling import CFFMSegmentor, MiT, SegFormerHead, TemporalHead, TimmBackbone
from cffm_plugin.modeling.backbone import MIT_VARIANTS

DETECTRON2_RESNETS = {
    "detectron2_resnet18": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64},  # no other width is possible
    "detectron2_resnet50": {"DEPTH": 50, "RES2_OUT_CHANNELS": 32, "WIDTH_PER_GROUP": 8},
}
TIMM_MODELS = [
    "resnet50",
    "swin_tiny_patch4_window7_224",
    "convnext_tiny",
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "pvt_v2_b0",
]
BACKBONES = ["mit_b0", *DETECTRON2_RESNETS, *TIMM_MODELS]
SIZES = [(97, 131), (64, 96)]


def make_backbone(name, size_divisibility=0):
    torch.manual_seed(0)
    if name in DETECTRON2_RESNETS:
        resnet = make_detectron2_resnet(**DETECTRON2_RESNETS[name])
        if size_divisibility == 0:
            return resnet
        return FPN(resnet, list(resnet.output_shape()), out_channels=32, norm="GN")
    if name in TIMM_MODELS:
        return TimmBackbone(name, size_divisibility=size_divisibility)
    return MiT(MIT_VARIANTS[name], size_divisibility=size_divisibility)


def make_detectron2_resnet(**keys):
    cfg = get_cfg()
    add_deeplab_config(cfg)
    resnets = cfg.MODEL.RESNETS
    resnets.NORM = "BN"
    resnets.STEM_OUT_CHANNELS = 16
    resnets.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    for key, value in keys.items():
        resnets[key] = value
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    return build_resnet_backbone(cfg, ShapeSpec(channels=3))


def make_segformer_head(shapes):
    return SegFormerHead(shapes, num_classes=NUM_CLASSES, embedding_channels=32, norm="BN")


def make_fpn_head(shapes):
    return SemSegFPNHead(
        shapes, num_classes=NUM_CLASSES, conv_dims=32, common_stride=4, norm="GN", ignore_value=255
    )


def make_deeplab_head(shapes):
    finest, *_, coarsest = sorted(shapes, key=lambda name: shapes[name].stride)
    return DeepLabV3PlusHead(
        {name: shapes[name] for name in (finest, coarsest)},
        num_classes=NUM_CLASSES,
        project_channels=[16],
        aspp_dilations=[2, 4, 6],
        aspp_dropout=0.1,
        decoder_channels=[32, 32],
        common_stride=4,
        # Its image pooling leaves one cell per frame: BatchNorm trains on a clip, not on one image.
        norm="BN",
        train_size=None,  # images of any size, so the pooling takes whatever there is
        ignore_value=255,
    )


# Head -> how to build it, and what it needs the sides of images to be divisible by.
HEADS = {
    "segformer": (make_segformer_head, 0),
    "deeplab": (make_deeplab_head, 0),
    "fpn": (make_fpn_head, 32),
}


@pytest.fixture(scope="module", params=BACKBONES)
def backbones(request):
    """The same backbone as it is, and with images padded to multiples of 32."""
    return {divisibility: make_backbone(request.param, divisibility) for divisibility in (0, 32)}


@pytest.fixture(params=HEADS)
def parts(request, backbones):
    """The arguments of an image segmentor."""
    make_head, divisibility = HEADS[request.param]
    backbone = backbones[divisibility]
    torch.manual_seed(0)
    return {"backbone": backbone, "sem_seg_head": make_head(backbone.output_shape()), **PIXELS}


SMALL_TV3S = {"depth": 2, "window_size": 6, "shift": 3, "num_states": 4}
TEMPORAL = {
    "cffm": ("classifier", lambda shapes: CFFM(32, 1, num_heads=4)),  # the paper's
    "recall": ("refine", lambda shapes: CFFMRecall(32, 1, num_heads=4)),  # what new models have
    "memory": ("refine", lambda shapes: CFFMMemory(32, 1, num_heads=4)),
    "mrcfa": ("refine", lambda shapes: MRCFA.build(32, shapes)),
    "tv3s_clip": ("refine", lambda shapes: TV3S.build(32, shapes, mode="clip", **SMALL_TV3S)),
    "tv3s_stream": ("refine", lambda shapes: TV3S.build(32, shapes, mode="stream", **SMALL_TV3S)),
}
# Sizes differ in padding, which temporal modules don't see: one suffices for most of them.
SIZES_OF_KINDS = [(size, kind) for kind in TEMPORAL for size in SIZES[: 2 if kind == "cffm" else 1]]


def make_segmentor(parts, kind="cffm"):
    output, make_module = TEMPORAL[kind]
    module = make_module(parts["backbone"].output_shape())
    temporal = TemporalHead(module, num_classes=NUM_CLASSES, output=output)
    return CFFMSegmentor(**parts, temporal=temporal)


def has_levels(parts, kind):
    """Whether the backbone has what the module looks at; if not, that an error names it."""
    if kind == "mrcfa" and "res3" not in parts["backbone"].output_shape():
        with pytest.raises(ValueError, match="res3"):
            make_segmentor(parts, kind)
        return False
    return True


def test_features_have_the_declared_channels_and_strides(backbones):
    backbone = backbones[0].eval()
    shapes = backbone.output_shape()
    assert {name: shape.stride for name, shape in shapes.items()} == {
        "res2": 4,
        "res3": 8,
        "res4": 16,
        "res5": 32,
    }
    for size in SIZES:
        with torch.no_grad():
            features = backbone(torch.rand(1, 3, *size))
        assert list(features) == list(shapes)
        for name, feature in features.items():
            cells = [math.ceil(side / shapes[name].stride) for side in size]
            assert feature.shape == (1, shapes[name].channels, *cells)


@pytest.mark.parametrize("size, kind", SIZES_OF_KINDS)
def test_a_clip_gets_logits_of_its_size_and_a_frame_the_image_segmentors(parts, size, kind):
    if not has_levels(parts, kind):
        return
    plain, ours = SemanticSegmentor(**parts).eval(), make_segmentor(parts, kind).eval()
    clip = make_clip(size)
    frame = {"image": clip["image"][-1]}
    with torch.no_grad():
        (of_clip,), (of_frame,), (expected,) = ours([clip]), ours([frame]), plain([frame])
    assert of_clip["sem_seg"].shape == (NUM_CLASSES, *size)
    assert of_clip["sem_seg"].isfinite().all()
    assert torch.equal(of_frame["sem_seg"], expected["sem_seg"])
    if TEMPORAL[kind][0] == "refine":  # untrained, it is the image segmentor
        assert torch.equal(of_clip["sem_seg"], expected["sem_seg"])


@pytest.mark.parametrize("kind", TEMPORAL)
def test_training_gives_every_parameter_a_finite_gradient(parts, kind):
    if not has_levels(parts, kind):
        return
    model = make_segmentor(parts, kind).train()
    model.zero_grad()  # the backbone has been under other heads
    losses = model([make_clip((64, 96), labels=True)])
    assert set(losses) == {"loss_sem_seg", "loss_video"}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
