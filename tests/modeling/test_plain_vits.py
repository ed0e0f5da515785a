"""timm's plain ViTs as pyramids, and Hiera: what test_contract.py asks of backbones, and more."""

import math

import pytest
import shallow_timm  # noqa: F401  (registers its models)
import timm
import torch
from detectron2.modeling import SemanticSegmentor, build_model
from rounding import assert_same
from tiny_models import NUM_CLASSES, PIXELS, make_clip
from torch.nn.parallel import DistributedDataParallel

from cffm_plugin.config import load_config
from cffm_plugin.core import CFFMRecall
from cffm_plugin.data import inference_clip
from cffm_plugin.engine import build_optimizer
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import (
    CFFMSegmentor,
    SegFormerHead,
    TemporalHead,
    TimmBackbone,
    TimmPyramid,
)
from cffm_plugin.modeling.backbone import pixel_statistics

MODELS = [
    "shallow_vit_tiny_patch16_224",
    "shallow_vit_small_patch14_dinov2",
    "shallow_vit_small_patch16_dinov3",
    "shallow_eva02_tiny_patch14_224",
    "shallow_hiera_tiny_224",
]
VIT = MODELS[0]
SIZES = [(97, 131), (64, 96)]


def make_backbone(name, **options):
    torch.manual_seed(0)
    net = TimmBackbone(name, **options)
    return net if "hiera" in name else TimmPyramid(net, out_channels=16)


def make_segmentor(name, **options):
    backbone = make_backbone(name, **options)
    head = SegFormerHead(
        backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
    )
    module = CFFMRecall(32, 1, num_heads=4)
    temporal = TemporalHead(module, num_classes=NUM_CLASSES, output="refine")
    return CFFMSegmentor(backbone=backbone, sem_seg_head=head, temporal=temporal, **PIXELS)


@pytest.fixture(scope="module", params=MODELS)
def segmentor(request):
    return make_segmentor(request.param)


@pytest.mark.parametrize("size", SIZES)
def test_features_have_the_declared_channels_and_strides(segmentor, size):
    shapes = segmentor.backbone.output_shape()
    strides = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
    assert {name: shape.stride for name, shape in shapes.items()} == strides
    with torch.no_grad():
        features = segmentor.eval().backbone(torch.rand(2, 3, *size))
    assert list(features) == list(shapes)
    for name, shape in shapes.items():
        cells = [math.ceil(side / shape.stride) for side in size]
        assert features[name].shape == (2, shape.channels, *cells)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_gets_the_image_segmentors_logits(segmentor, size):
    parts = {"backbone": segmentor.backbone, "sem_seg_head": segmentor.sem_seg_head}
    plain = SemanticSegmentor(**parts, **PIXELS).eval()
    frame = {"image": make_clip(size, frames=1)["image"][0]}
    with torch.no_grad():
        (ours,), (expected,) = segmentor.eval()([frame]), plain([frame])
    assert ours["sem_seg"].shape == (NUM_CLASSES, *size)
    assert torch.equal(ours["sem_seg"], expected["sem_seg"])


def test_training_gives_every_parameter_a_finite_gradient(segmentor):
    sum(segmentor.train()([make_clip(labels=True)]).values()).backward()
    for name, parameter in segmentor.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_stream_gives_what_clips_give_also_from_a_file(segmentor, tmp_path):
    for parameter in segmentor.temporal.parameters():  # so that the past matters
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save(segmentor.eval().state_dict(), tmp_path / "model.pth")
    loaded = make_segmentor(getattr(segmentor.backbone, "net", segmentor.backbone).name).eval()
    torch.nn.init.zeros_(loaded.sem_seg_head.predictor.weight)  # so that the file matters
    loaded.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    frames, offsets = make_clip((65, 97))["image"], (-3, -2, -1)
    stream = StreamingSegmentor(loaded, frame_offsets=offsets)
    for time, frame in enumerate(frames):
        with torch.no_grad():
            (expected,) = segmentor([{"image": [frames[i] for i in inference_clip(time, offsets)]}])
        logits = stream.step(frame, output="logits")
        torch.testing.assert_close(logits, expected["sem_seg"], rtol=0, atol=1e-4)


def test_class_and_register_tokens_are_left_out():
    name = "shallow_vit_small_patch14_reg4_dinov2"
    net = TimmBackbone(name).eval()
    model = timm.create_model(name, patch_size=16, img_size=592, dynamic_img_size=True).eval()
    model.load_state_dict(net.extractor.model.state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        ((expected, tokens),) = model.forward_intermediates(
            image, indices=1, norm=True, return_prefix_tokens=True, intermediates_only=True
        )
        features = net(image)
    assert tokens.shape == (1, 1 + 4, 384) and expected.shape == (1, 384, 4, 6)
    assert list(features) == ["res4"]
    assert_same(features["res4"], expected)


@pytest.mark.parametrize(
    "name, side", [("shallow_vit_small_patch14_dinov2", 592), (MODELS[3], 256)]
)
def test_patches_of_14_pixels_become_16_as_timm_resamples_them(tmp_path, name, side):
    """Images of 518 pixels have 37 x 37 patches of 14 pixels; 592 pixels have as many of 16."""
    torch.manual_seed(1)
    weights = timm.create_model(name).state_dict()
    path = str(tmp_path / "weights.pth")
    torch.save(weights, path)
    net = TimmBackbone(name, checkpoint=path).eval()
    model = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": path},
        patch_size=16,
        img_size=side,
        dynamic_img_size=True,
        num_classes=weights["head.bias"].shape[0] if "head.bias" in weights else 0,
    ).eval()
    ours = net.extractor.model.state_dict()
    assert ours["patch_embed.proj.weight"].shape[2:] == (16, 16)
    assert torch.equal(ours["pos_embed"], weights["pos_embed"])
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        (expected,) = model.forward_intermediates(
            image, indices=1, norm=True, intermediates_only=True
        )
        assert_same(net(image)["res4"], expected)


def test_a_file_of_another_vit_is_an_error(tmp_path):
    torch.save(timm.create_model(VIT).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"does not hold the weights of timm's shallow_vit_small"):
        TimmBackbone(MODELS[2], checkpoint=str(tmp_path / "weights.pth"))


def test_hiera_is_timms_own_at_its_own_size_and_does_not_depend_on_the_sizes_before():
    net = TimmBackbone("shallow_hiera_tiny_224").eval()
    model = timm.create_model("shallow_hiera_tiny_224", features_only=True).eval()
    model.load_state_dict(net.extractor.state_dict())
    image, other = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 64, 96)
    of_windows = TimmBackbone("hiera_small_abswin_256", out_features=["res2"]).eval()
    with torch.no_grad():
        first, expected = net(other), model(image)
        for feature, wanted in zip(net(image).values(), expected):
            assert_same(feature, wanted)
        again = net(other)
        # With embeddings of windows it takes any size too.
        assert of_windows(torch.rand(1, 3, 97, 131))["res2"].shape == (1, 96, 25, 33)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_pyramid_has_nothing_for_features_that_nobody_asked_for():
    pyramid = TimmPyramid(TimmBackbone(VIT), out_features=["res5", "res2"], out_channels=8)
    features = pyramid(torch.rand(1, 3, 40, 70))
    assert list(features) == list(pyramid.output_shape()) == ["res2", "res5"]
    assert features["res5"].shape == (1, 8, 2, 3)
    sum(feature.sum() for feature in features.values()).backward()
    assert all(p.grad is not None for p in pyramid.parameters())


@pytest.mark.parametrize(
    "net, out_features, message",
    [
        ("test_vit", ["res1"], r"offers the features .*'res5'.*got \('res1',\)"),
        ("test_vit", [], r"got \(\)"),
        ("vit_tiny_r_s16_p8_224", None, r"stride 16, but .*vit_tiny_r_s16_p8_224.*'res5': 32"),
    ],
)
def test_a_pyramid_says_what_it_offers_and_needs(net, out_features, message):
    with pytest.raises(ValueError, match=message):
        TimmPyramid(TimmBackbone(net), out_features=out_features)


def test_a_frozen_vit_keeps_no_activations_and_its_pyramid_trains():
    backbone = make_backbone(VIT, freeze=True, drop_path_rate=0.9).train()
    backbone.set_activation_checkpointing(True)  # has nothing to do
    assert not any(module.training for module in backbone.net.modules())
    assert all(m.training for name, m in backbone.named_modules() if name.startswith("simfp"))
    image = torch.rand(2, 3, 64, 96, requires_grad=True)
    assert not backbone.net(image)["res4"].requires_grad
    features = backbone(image)
    sum(feature.square().sum() for feature in features.values()).backward()
    assert image.grad is None
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == name.startswith("net.") != parameter.requires_grad, name


def test_a_frozen_cnn_keeps_the_statistics_of_its_batchnorm():
    backbone = TimmBackbone("test_resnet", freeze=True).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    features = backbone(torch.rand(2, 3, 64, 64))
    assert not any(feature.requires_grad for feature in features.values())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_activation_checkpointing_gives_the_same_gradients():
    backbone, image = make_backbone(VIT), torch.rand(1, 3, 64, 96)
    gradients = []
    for enable in (False, True):
        backbone.set_activation_checkpointing(enable)
        assert backbone.net.extractor.model.grad_checkpointing is enable
        backbone.zero_grad()
        sum(feature.square().sum() for feature in backbone(image).values()).backward()
        gradients.append([parameter.grad for parameter in backbone.parameters()])
    torch.testing.assert_close(*gradients)


CONFIG = "configs/vspw/cffm_dinov3_vits16_frozen.yaml"
TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.TIMM.PRETRAINED", "False", "MODEL.TIMM.NAME", MODELS[2]),
    *("MODEL.TIMM.PYRAMID_CHANNELS", "8", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
    *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(NUM_CLASSES)),
    *("MODEL.CFFM.DEPTH", "1", "MODEL.CFFM.NUM_HEADS", "4", "MODEL.TIMM.SIZE_DIVISIBILITY", "32"),
]


def test_a_frozen_vit_of_a_config_trains_under_ddp(tmp_path):
    cfg = load_config(CONFIG, TINY)
    model = build_model(cfg).train()
    assert isinstance(model.backbone, TimmPyramid) and model.backbone.size_divisibility == 32
    frozen = {name: p.clone() for name, p in model.backbone.net.named_parameters()}
    pyramid = model.backbone.simfp_4[0].weight.clone()
    optimizer = build_optimizer(cfg, model)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        wrapped = DistributedDataParallel(model)
        for _ in range(2):  # the second forward pass tells if a gradient was missing
            optimizer.zero_grad()
            sum(wrapped([make_clip(labels=True)]).values()).backward()
            optimizer.step()
    finally:
        torch.distributed.destroy_process_group()
    assert not torch.equal(model.backbone.simfp_4[0].weight, pyramid)
    for name, parameter in model.backbone.net.named_parameters():
        assert torch.equal(parameter, frozen[name]), name


@pytest.mark.parametrize("variant", ["dinov3_vits16", "dinov3_vits16_frozen", "dinov2_vits14"])
def test_vspw_configs_of_vits_name_weights_and_differ_in_cffm_alone(variant):
    cfg = load_config(f"configs/vspw/cffm_{variant}.yaml")
    pixel_statistics(cfg.MODEL.TIMM.NAME)  # an error where timm publishes no weights
    assert cfg.MODEL.TIMM.FREEZE == ("frozen" in variant) == (cfg.SOLVER.LAYER_DECAY == 1)
    image = load_config(f"configs/vspw/segformer_{variant}.yaml")
    assert not image.MODEL.TEMPORAL.ENABLED
    image.MODEL.TEMPORAL.ENABLED, image.OUTPUT_DIR = True, cfg.OUTPUT_DIR
    assert image == cfg
    new = load_config()  # what new models have by default
    assert (cfg.MODEL.TEMPORAL, cfg.MODEL.CFFM) == (new.MODEL.TEMPORAL, new.MODEL.CFFM)
