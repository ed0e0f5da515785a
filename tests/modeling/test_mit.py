"""MiT as a backbone: shapes for any input size, names, initialisation."""

import math

import pytest
import torch
from detectron2.modeling import ShapeSpec
from torch import nn

from cffm_plugin.config import load_config
from cffm_plugin.modeling import MiT
from cffm_plugin.modeling.backbone import MIT_VARIANTS, build_mit_backbone


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return MiT(MIT_VARIANTS["mit_tiny"]).eval()


@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 47), (16, 24), (1, 1)])
def test_features_have_the_declared_channels_and_strides(tiny, size):
    with torch.no_grad():
        features = tiny(torch.rand(1, 3, *size))
    shapes = tiny.output_shape()
    assert list(features) == list(shapes) == ["res2", "res3", "res4", "res5"]
    for name, feature in features.items():
        cells = [math.ceil(side / shapes[name].stride) for side in size]
        assert feature.shape == (1, shapes[name].channels, *cells)


def test_only_the_features_asked_for_are_returned():
    mit = MiT(MIT_VARIANTS["mit_tiny"], out_features=["res5", "res3"])
    assert set(mit(torch.rand(1, 3, 32, 32))) == set(mit.output_shape()) == {"res3", "res5"}


def test_an_unknown_feature_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"res2.*stage9"):
        MiT(MIT_VARIANTS["mit_tiny"], out_features=["stage9"])


@pytest.mark.parametrize("name", MIT_VARIANTS)
def test_every_variant_has_its_depths_and_widths(name):
    variant = MIT_VARIANTS[name]
    with torch.device("meta"):
        mit = MiT(variant)
    assert tuple(len(getattr(mit, f"block{i}")) for i in range(1, 5)) == variant.depths
    assert tuple(s.channels for s in mit.output_shape().values()) == variant.dims


def test_stochastic_depth_grows_linearly_to_its_largest_rate():
    with torch.device("meta"):
        mit = MiT(MIT_VARIANTS["mit_b2"], drop_path_rate=0.3)
    rates = [block.drop_path.p for i in range(1, 5) for block in getattr(mit, f"block{i}")]
    assert rates == pytest.approx([0.3 * i / 15 for i in range(16)])


def test_initialisation_is_segformers():
    torch.manual_seed(0)
    mit = MiT(MIT_VARIANTS["mit_b0"])
    linear = mit.block3[0].mlp.fc1  # 160 -> 640: enough numbers to measure a deviation
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    dense, depthwise = mit.patch_embed4.proj, mit.block4[0].mlp.dwconv.dwconv
    assert dense.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.05)
    for module in mit.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert not module.bias.any()


def test_config_names_the_variant():
    cfg = load_config("", ["MODEL.MIT.NAME", "mit_b7"])
    with pytest.raises(ValueError, match=r"MODEL.MIT.NAME.*mit_b5.*mit_b7"):
        build_mit_backbone(cfg, ShapeSpec(channels=3))
