"""Detectron2's Swin as a backbone of segmentors."""

import copy

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from detectron2.modeling.backbone.swin import SwinTransformer

from cffm_plugin import add_cffm_config
from cffm_plugin.core.mit import StochasticDepth
from cffm_plugin.modeling.backbone import SWIN_VARIANTS, Swin
from cffm_plugin.modeling.backbone.swin import SwinVariant

TINY = SwinVariant(12, (1, 2, 1, 1), (1, 2, 3, 4))


def tiny(**arguments):
    torch.manual_seed(0)
    return Swin(TINY, **arguments).eval()


def test_its_maps_are_detectron2s_by_other_names():
    ours = tiny()
    theirs = SwinTransformer(
        embed_dim=12, depths=TINY.depths, num_heads=TINY.num_heads, drop_path_rate=0.0
    ).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected and all(name.endswith("relative_position_index") for name in missing)
    images = torch.randn(2, 3, 50, 71)
    with torch.no_grad():
        maps, expected = ours(images), theirs(images)
    assert list(maps) == ["res2", "res3", "res4", "res5"]
    for feature, other in zip(maps.values(), expected.values(), strict=True):
        assert torch.equal(feature, other)


@pytest.mark.parametrize("size", [(64, 96), (33, 70), (4, 4), (1, 130)])
def test_images_of_any_size_give_maps_of_their_strides_rounded_up(size):
    swin = tiny()
    shapes = swin.output_shape()
    with torch.no_grad():
        maps = swin(torch.randn(1, 3, *size))
    for name, feature in maps.items():
        shape = shapes[name]
        expected = tuple(-(-side // shape.stride) for side in size)
        assert feature.shape == (1, shape.channels, *expected)


def test_it_gives_the_maps_that_are_asked_for_in_their_order():
    swin = tiny(out_features=["res5", "res3"])
    assert list(swin.output_shape()) == ["res5", "res3"]
    maps = swin(torch.randn(1, 3, 32, 32))
    assert [(n, m.shape[1]) for n, m in maps.items()] == [("res5", 96), ("res3", 24)]
    with pytest.raises(ValueError, match="stage9"):
        tiny(out_features=["stage9"])


def test_stochastic_depth_grows_from_none_to_its_rate():
    rates = [m.p for m in tiny(drop_path_rate=0.4).modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_activation_checkpointing_changes_no_gradient():
    plain = tiny(drop_path_rate=0.0).train()
    recomputed = copy.deepcopy(plain)
    recomputed.set_activation_checkpointing(True)
    images = torch.randn(1, 3, 64, 64)
    for swin in (plain, recomputed):
        sum(feature.square().sum() for feature in swin(images).values()).backward()
    for ours, theirs in zip(plain.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_config_names_it():
    cfg = get_cfg()
    add_cffm_config(cfg)
    cfg.MODEL.BACKBONE.NAME = "build_swin_backbone"
    cfg.MODEL.D2_SWIN.DROP_PATH_RATE = 0.0
    with torch.device("cpu"):
        backbone = build_backbone(cfg)
    assert len(backbone.layers[2].blocks) == SWIN_VARIANTS["swin_t"].depths[2] == 6
    cfg.MODEL.D2_SWIN.NAME = "swin_xxl"
    with pytest.raises(ValueError, match=r"MODEL\.D2_SWIN\.NAME: expected one of .*'swin_xxl'"):
        build_backbone(cfg)
