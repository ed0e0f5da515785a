"""A head whose forward gives something else than a stream would is an error, however it is met."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY, build_model
from tiny_models import make_clip, make_parts

from cffm_plugin.config import load_config
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import CFFMSegmentor, SegFormerHead


@SEM_SEG_HEADS_REGISTRY.register()
class AlignedHead(SegFormerHead):
    """Upsamples with aligned corners: 14 % other labels at 480x864, and no error."""

    @configurable
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def forward(self, features, targets=None):
        logits = self.classify(*self.embed(features))
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=True), {}


def with_head(cls):
    parts = make_parts()
    parts["sem_seg_head"].__class__ = cls
    return CFFMSegmentor(**parts).eval()


def test_a_stream_of_a_model_made_by_hand_refuses_it():
    with pytest.raises(ValueError, match=r"AlignedHead.forward gives other logits.*differ by"):
        StreamingSegmentor(with_head(AlignedHead))
    StreamingSegmentor(with_head(SegFormerHead))


def test_building_from_a_config_refuses_it():
    cfg = load_config()
    cfg.MODEL.DEVICE, cfg.MODEL.META_ARCHITECTURE = "cpu", "CFFMSegmentor"
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.MIT.NAME = "build_mit_backbone", "mit_tiny"
    cfg.MODEL.SEM_SEG_HEAD.NAME = "AlignedHead"
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.TEMPORAL.ENABLED = False
    with pytest.raises(ValueError, match="AlignedHead.forward gives other logits"):
        build_model(cfg)


def test_a_model_is_tried_once_for_all_its_streams():
    model, calls = with_head(SegFormerHead), []
    model.sem_seg_head.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        StreamingSegmentor(model)
    assert len(calls) == 1


def test_a_head_that_takes_no_small_maps_is_warned_of_and_runs(caplog):
    class LargeMaps(SegFormerHead):
        def embed(self, features):
            if features["res5"].shape[-1] < 3:
                raise RuntimeError("the window is larger than the map")
            return super().embed(features)

    stream = StreamingSegmentor(with_head(LargeMaps))
    assert "the window is larger than the map" in caplog.text
    assert stream.step(make_clip((96, 96), 1)["image"][0]).shape == torch.Size((96, 96))
