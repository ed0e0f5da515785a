"""TimmBackbone: names by stride, sizes, weights from files, and errors that say what there is."""

import math

import pytest
import timm
import torch
from detectron2.modeling import build_model
from rounding import assert_same
from safetensors.torch import save_file

from cffm_plugin.config import load_config
from cffm_plugin.modeling import TimmBackbone
from cffm_plugin.modeling.backbone import pixel_statistics


@pytest.fixture(scope="module")
def resnet_weights():
    torch.manual_seed(1)
    return timm.create_model("resnet18").state_dict()


@pytest.mark.parametrize("size", [(97, 131), (33, 40), (1, 1)])
@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",  # any size
        "test_convnext",  # rounds down: needs multiples of 32
        "poolformer_s12",  # needs multiples of 4
        "hrnet_w18_small",  # needs multiples of 32, and takes no drop_path_rate
        "mambaout_femto",  # channels last
    ],
)
def test_a_side_gives_its_cells_rounded_up(name, size):
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, *size))
    for feature, shape in zip(features.values(), backbone.output_shape().values()):
        cells = [math.ceil(side / shape.stride) for side in size]
        assert feature.shape == (2, shape.channels, *cells)


def test_features_are_timms_own_where_nothing_is_padded():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet").eval()
    model = timm.create_model("test_resnet", features_only=True).eval()
    model.load_state_dict(backbone.extractor.state_dict())
    image = torch.rand(1, 3, 97, 131)
    permuted, divided = TimmBackbone("mambaout_femto").eval(), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        features, expected = backbone(image), model(image)[1:]  # timm's first has stride 2
        for one, other in zip(features.values(), expected):
            assert_same(one, other)
        for one, other in zip(permuted(divided).values(), permuted.extractor(divided)):
            assert torch.equal(one, other.permute(0, 3, 1, 2))  # timm's has its channels last


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "mobilenetv3_small_050"])
def test_layers_behind_the_last_feature_do_not_exist(name):
    backbone = TimmBackbone(name, out_features=["res4", "res3"])
    features = backbone(torch.rand(2, 3, 64, 64))
    assert list(features) == list(backbone.output_shape()) == ["res3", "res4"]
    sum(feature.sum() for feature in features.values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_a_model_with_fewer_strides_offers_those():
    backbone = TimmBackbone("test_vit").eval()
    assert {n: s.stride for n, s in backbone.output_shape().items()} == {"res4": 16}
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 97, 131))["res4"].shape[2:] == (7, 9)
    with pytest.raises(ValueError, match=r"test_vit.*res4 \(stride 16\).*got .*res5"):
        TimmBackbone("test_vit", out_features=["res4", "res5"])


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("convnext_tny", {}, r"no model 'convnext_tny'.*convnext_tiny"),
        ("beit_base_patch16_384", {}, "images of any size"),
        ("test_resnet", {"out_features": []}, r"res2 \(stride 4\)"),
        ("vgg11", {"drop_path_rate": 0.1}, "takes no drop_path_rate"),
        ("test_resnet", {"pretrained": True, "checkpoint": "x.pth"}, "either pretrained or in"),
    ],
)
def test_what_a_model_can_not_do_is_an_error(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(name, **arguments)


def test_drop_path_rate_reaches_the_model():
    def rates(rate):
        modules = TimmBackbone("pvt_v2_b0", drop_path_rate=rate).modules()
        return [m.drop_prob for m in modules if type(m).__name__ == "DropPath"]

    assert max(rates(0.3)) == pytest.approx(0.3)
    assert max(rates(0.0), default=0.0) == 0.0


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_the_whole_model_loads(tmp_path, caplog, resnet_weights, suffix):
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": resnet_weights}, file)
    else:
        save_file(resnet_weights, file)
    with caplog.at_level("INFO", logger="cffm_plugin"):
        backbone = TimmBackbone("resnet18", checkpoint=str(file))
    ours = backbone.extractor.state_dict()
    assert all(torch.equal(ours[key], resnet_weights[key]) for key in ours)
    assert set(resnet_weights) - set(ours) == {"fc.weight", "fc.bias"}
    assert "fc.bias, fc.weight" in caplog.text


def test_a_file_loads_where_timm_renames_the_layers(tmp_path):
    """A feature extractor of ConvNeXt says stages_0 where the whole model says stages.0."""
    torch.manual_seed(1)
    model = timm.create_model("test_convnext").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    backbone = TimmBackbone("test_convnext", checkpoint=str(tmp_path / "weights.pth")).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_intermediates(image, intermediates_only=True)
        features = backbone(image)
    for one, other in zip(features.values(), expected[-4:]):
        assert torch.equal(one, other)


@pytest.mark.parametrize("other", ["resnet10t", "resnet34", "test_vit"])
def test_a_file_of_another_model_is_an_error(tmp_path, other):
    """resnet34 has every weight of resnet18, in the same shapes, and more."""
    torch.save(timm.create_model(other).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights.pth does not hold the weights of timm's resnet"):
        TimmBackbone("resnet18", checkpoint=str(tmp_path / "weights.pth"))


def test_files_that_are_missing_or_hold_code_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        TimmBackbone("test_resnet", checkpoint=str(tmp_path / "nowhere.pth"))
    torch.save(timm.create_model("test_resnet"), tmp_path / "module.pth")
    with pytest.raises(ValueError, match=r"module.pth can't be read"):
        TimmBackbone("test_resnet", checkpoint=str(tmp_path / "module.pth"))


def test_pixel_statistics_are_the_pretrainings_in_pixel_values():
    # ImageNet's usual numbers, (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225), times 255.
    mean, std = pixel_statistics("resnet50")
    assert mean == pytest.approx([123.675, 116.28, 103.53])
    assert std == pytest.approx([58.395, 57.12, 57.375])
    assert pixel_statistics("tf_efficientnet_lite0")[0] == pytest.approx(3 * [127.5])
    with pytest.raises(ValueError, match="resnet50"):
        pixel_statistics("resnet_50")


def test_config_builds_it():
    overrides = ["MODEL.META_ARCHITECTURE", "CFFMSegmentor", "MODEL.DEVICE", "cpu"]
    overrides += ["MODEL.BACKBONE.NAME", "build_timm_backbone", "MODEL.TIMM.NAME", "test_resnet"]
    overrides += ["MODEL.TIMM.OUT_FEATURES", "['res2', 'res5']"]
    overrides += ["MODEL.TIMM.SIZE_DIVISIBILITY", "32", "MODEL.SEM_SEG_HEAD.NAME", "SegFormerHead"]
    overrides += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res5']"]
    model = build_model(load_config("", overrides))
    assert isinstance(model.backbone, TimmBackbone)
    assert model.backbone.size_divisibility == 32
    assert list(model.backbone.output_shape()) == ["res2", "res5"]
