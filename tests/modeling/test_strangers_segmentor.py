"""Backbones and heads that know nothing of this package work through the config alone."""

import copy
import functools
import logging

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    Backbone,
    SemanticSegmentor,
    build_model,
)
from detectron2.projects.point_rend import add_pointrend_config
from tiny_models import NUM_CLASSES, assert_void_trains_nothing, make_clip, void_of
from torch import nn

from cffm_plugin import add_cffm_config
from cffm_plugin.data import inference_clip
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.inference import StreamingSegmentor

SIZE = (45, 70)  # of no stride a multiple


@BACKBONE_REGISTRY.register()
class StrangersBackbone(Backbone):
    """Three maps, of strides 2, 4 and 8, with names and widths of its own."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        widths = {"early": 6, "middle": 10, "late": 14}
        self._out_features = list(widths)
        self._out_feature_channels = widths
        self._out_feature_strides = {"early": 2, "middle": 4, "late": 8}
        inputs = [input_shape.channels, *widths.values()]
        self.stages = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d(before, width, 3, stride=2, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
                for (name, width), before in zip(widths.items(), inputs)
            }
        )

    def forward(self, image):
        features = {}
        for name, stage in self.stages.items():
            image = features[name] = stage(image)
        return features


class _TwoMaps(nn.Module):
    """What the strangers' heads have in common: the maps of strides 4 and 8, fused at stride 4."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.in_features = cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES
        self.ignore_value = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
        channels = sum(input_shape[name].channels for name in self.in_features)
        self.fuse = nn.Conv2d(channels, 12, 3, padding=1)  # 12: not a multiple of CFFM's heads
        self.predictor = nn.Conv2d(12, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, 3, padding=1)

    def _logits(self, features):
        finest, *others = (features[name] for name in self.in_features)
        others = [F.interpolate(x, size=finest.shape[2:], mode="nearest") for x in others]
        return self.predictor(F.gelu(self.fuse(torch.cat([finest, *others], dim=1))))

    def forward(self, features, targets=None):
        logits = F.interpolate(self._logits(features), scale_factor=4, mode="bilinear")
        if not self.training:
            return logits, {}
        logits = logits[..., : targets.shape[1], : targets.shape[2]]
        return None, {"loss": F.cross_entropy(logits, targets, ignore_index=self.ignore_value)}


@SEM_SEG_HEADS_REGISTRY.register()
class StrangersHead(_TwoMaps):
    """Detectron2's style: ``layers``, ``predictor`` and ``common_stride``."""

    common_stride = 4

    def layers(self, features):
        return self._logits(features)


@SEM_SEG_HEADS_REGISTRY.register()
class StridelessHead(_TwoMaps):
    """``layers`` and ``predictor``, but it does not say at which stride."""

    def layers(self, features):
        return self._logits(features)


@SEM_SEG_HEADS_REGISTRY.register()
class ClosedHead(_TwoMaps):
    """Does all in ``forward``."""


def strangers_config(head="StrangersHead"):
    cfg = get_cfg()
    add_cffm_config(cfg)
    configure(cfg, head)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = NUM_CLASSES
    return cfg


def configure(cfg, head="StrangersHead"):
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
    cfg.MODEL.BACKBONE.NAME = "StrangersBackbone"
    cfg.MODEL.SEM_SEG_HEAD.NAME = head
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["middle", "late"]
    cfg.MODEL.TEMPORAL.OUTPUT = "classifier"  # so that the past matters from the start
    cfg.MODEL.CFFM.DEPTH = 1


def as_image_segmentor(cfg):
    cfg = copy.deepcopy(cfg)
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    return cfg


def test_a_strangers_segmentor_takes_clips_and_frames():
    torch.manual_seed(0)
    model = build_model(strangers_config()).eval()
    image_segmentor = build_model(as_image_segmentor(strangers_config())).eval()
    assert type(image_segmentor) is SemanticSegmentor
    missing, unexpected = image_segmentor.load_state_dict(model.state_dict(), strict=False)
    assert not missing and {name.split(".")[0] for name in unexpected} == {"temporal"}
    clip = make_clip(SIZE)
    frame = {"image": clip["image"][-1]}
    with torch.no_grad():
        (of_clip,), (of_frame,) = model([clip]), model([frame])
        (expected,) = image_segmentor([frame])
    assert of_clip["sem_seg"].shape == (NUM_CLASSES, *SIZE)
    assert of_clip["sem_seg"].isfinite().all()
    assert torch.equal(of_frame["sem_seg"], expected["sem_seg"])
    assert not torch.equal(of_clip["sem_seg"], of_frame["sem_seg"])


def test_a_strangers_segmentor_trains_from_the_config(tiny_cfg, tmp_path):
    configure(tiny_cfg)
    tiny_cfg.DATASETS.TEST = ()
    tiny_cfg.SOLVER.MAX_ITER = 2
    tiny_cfg.SOLVER.WARMUP_ITERS = 0
    tiny_cfg.OUTPUT_DIR = str(tmp_path)
    trainer = CFFMTrainer(tiny_cfg)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter, before[name]), name


def test_deeplab_v3s_head_wraps():
    """It has no ``layers``, and works on one map, here of stride 16."""
    torch.manual_seed(0)
    cfg = strangers_config("DeepLabV3Head")
    cfg.MODEL.BACKBONE.NAME = "build_resnet_deeplab_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    resnets = cfg.MODEL.RESNETS
    resnets.NORM, resnets.OUT_FEATURES, resnets.RES5_DILATION = "BN", ["res5"], 2
    resnets.STEM_OUT_CHANNELS, resnets.RES2_OUT_CHANNELS, resnets.WIDTH_PER_GROUP = 16, 16, 4
    head = cfg.MODEL.SEM_SEG_HEAD
    head.IN_FEATURES, head.COMMON_STRIDE, head.NORM = ["res5"], 16, "BN"
    head.CONVS_DIM = head.ASPP_CHANNELS = 16
    model = build_model(cfg).eval()

    embedding = model.head
    features = {"res5": torch.rand(2, model.backbone.output_shape()["res5"].channels, 5, 7)}
    with torch.no_grad():
        logits, _ = model.sem_seg_head(features)
        ours = embedding.classify(*embedding.embed(features))
        (of_clip,) = model([make_clip(SIZE)])
    assert (embedding.channels, embedding.stride) == (16, 16)
    expected = F.interpolate(ours, scale_factor=16, mode="bilinear", align_corners=False)
    assert torch.equal(logits, expected)
    assert of_clip["sem_seg"].shape == (NUM_CLASSES, *SIZE)

    losses = model.train()([make_clip((64, 96), labels=True)])
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_strangers_backbone_under_segformers_head():
    """Any names and strides: here 2, 4 and 8; the embedding is at the finest."""
    cfg = strangers_config("SegFormerHead")
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["early", "middle", "late"]
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 32
    model = build_model(cfg).eval()
    assert model.head.stride == 2
    assert model.backbone.output_shape()["early"] == ShapeSpec(channels=6, stride=2)
    with torch.no_grad():
        (result,) = model([make_clip(SIZE)])
    assert result["sem_seg"].shape == (NUM_CLASSES, *SIZE)


def pointrend_config():
    cfg = get_cfg()
    add_pointrend_config(cfg)
    add_cffm_config(cfg)
    configure(cfg, "PointRendSemSegHead")
    cfg.MODEL.BACKBONE.NAME = "build_mit_backbone"
    cfg.MODEL.MIT.NAME, cfg.MODEL.MIT.SIZE_DIVISIBILITY = "mit_tiny", 32
    head = cfg.MODEL.SEM_SEG_HEAD
    head.IN_FEATURES, head.CONVS_DIM, head.NORM = ["res2", "res3", "res4", "res5"], 32, "GN"
    head.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = NUM_CLASSES
    point = cfg.MODEL.POINT_HEAD
    point.IN_FEATURES, point.FC_DIM, point.SUBDIVISION_STEPS = ["res2"], 16, 2
    point.TRAIN_NUM_POINTS, point.SUBDIVISION_NUM_POINTS = 40, 60
    return cfg


CLOSED = {
    "StridelessHead": lambda: strangers_config("StridelessHead"),
    "ClosedHead": lambda: strangers_config("ClosedHead"),
    "PointRendSemSegHead": pointrend_config,
}


@pytest.mark.parametrize("head", CLOSED)
def test_a_head_that_says_less_streams_what_a_clip_gives(head):
    torch.manual_seed(0)
    cfg = CLOSED[head]()
    model = build_model(cfg).eval()
    stream = StreamingSegmentor(model, frame_offsets=cfg.MODEL.TEMPORAL.FRAME_OFFSETS)
    frames = [frame for _ in range(3) for frame in make_clip(SIZE)["image"]]
    image_segmentor = build_model(as_image_segmentor(cfg)).eval()
    image_segmentor.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        for t, frame in enumerate(frames):
            streamed = stream.step(frame, output="logits", channel_order=model.image_format)
            assert streamed.shape == (NUM_CLASSES, *SIZE)
            if t < 3:  # too little past: the image segmentor
                (expected,) = image_segmentor([{"image": frame}])
            else:
                clip = [frames[i] for i in inference_clip(t)]
                (expected,) = model([{"image": clip}])
            assert torch.equal(streamed, expected["sem_seg"]), t


@pytest.mark.parametrize("head", CLOSED)
def test_a_head_that_says_less_trains_with_its_own_losses(head):
    torch.manual_seed(0)
    cfg = CLOSED[head]()
    model = build_model(cfg).train()
    image_segmentor = build_model(as_image_segmentor(cfg)).train()
    own = image_segmentor([{"image": torch.rand(3, 64, 96), "sem_seg": torch.ones(64, 96).long()}])
    losses = model([make_clip((64, 96), labels=True)])
    assert set(losses) == {"loss_video"} | (
        {"loss_sem_seg"} if head == "StridelessHead" else set(own)
    )
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("head", [*CLOSED, "ClosedHead that names no value of void"])
def test_where_all_is_void_such_a_head_is_not_trained(head, temporal):
    head, *silent = head.split(" ", 1)
    cfg = CLOSED[head]()
    cfg.MODEL.TEMPORAL.ENABLED = temporal
    model = build_model(cfg).train()
    if silent:  # it is 255
        del model.sem_seg_head.ignore_value
        model.sem_seg_head.forward = functools.partial(forward_of_255, model.sem_seg_head)
    assert_void_trains_nothing(model, make_clip((32, 64), labels=True))


def forward_of_255(head, features, targets=None):
    """As ``_TwoMaps``, of a head that knows its value of void by itself."""
    logits = F.interpolate(head._logits(features), scale_factor=4, mode="bilinear")
    if not head.training:
        return logits, {}
    return None, {"loss_own": F.cross_entropy(logits, targets, ignore_index=255)}


@pytest.mark.parametrize("temporal", [True, False])
def test_a_loss_of_few_points_is_0_where_all_of_these_are_void(temporal):
    """PointRend looks at 40 points of each frame: none of them is the one that has a label."""
    torch.manual_seed(0)
    cfg = pointrend_config()
    cfg.MODEL.TEMPORAL.ENABLED = temporal
    model = build_model(cfg).train()
    clip = void_of(make_clip((64, 96), labels=True))
    clip["sem_seg"][-1][0, 0] = 1
    losses = model([clip])
    assert losses["loss_sem_seg"] > 0 and losses["loss_sem_seg_point"] == 0
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("temporal", [True, False])
def test_void_hides_no_prediction_that_is_not_finite(temporal):
    cfg = pointrend_config()
    cfg.MODEL.TEMPORAL.ENABLED = temporal
    model = build_model(cfg).train()
    with torch.no_grad():
        model.sem_seg_head.coarse_sem_seg_head.predictor.weight.fill_(float("nan"))
    losses = model([void_of(make_clip((64, 96), labels=True))])
    assert losses["loss_sem_seg"].isnan()


def test_the_log_says_what_would_be_better_than_logits(caplog):
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        build_model(strangers_config("ClosedHead"))
    (warning,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert "ClosedHead offers its logits alone" in warning
    assert "embed(features)" in warning and "classify(embedding, context)" in warning
