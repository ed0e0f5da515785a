"""timm's models that are made for one size of images, at others: as timm builds them for these."""

import math
import re
import sys

import pytest
import shallow_timm  # noqa: F401  (registers its models)
import timm
import torch
from rounding import assert_same

from cffm_plugin.core.nested import to_channels_last
from cffm_plugin.modeling import TimmBackbone
from cffm_plugin.modeling.backbone.timm_blueprint import draw_blueprint
from cffm_plugin.modeling.backbone.timm_probing import pad_to_multiple

SWINS = {
    "shallow_swin_tiny_patch4_window7_224": {},
    "shallow_swinv2_tiny_window16_256": {},
    # timm widens the windows of its "CR" with the image; a backbone keeps those of the pretraining
    "shallow_swinv2_cr_tiny_ns_224": {"window_size": 7},
}
# Beyond 224 in both directions, in one, and so small that the last stages are less than a window.
SIZES = [(256, 288), (224, 256), (97, 131)]


def make_swin(name):
    """With values that matter: SwinV2 starts with blocks that do nothing."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() == 1 and not parameter.any():
                parameter.uniform_(0.5, 1)
        for key, table in backbone.named_parameters():
            if key.endswith("bias_table"):
                table.normal_()
    return backbone


def timms_own(name, size, weights, **options):
    """timm's extractor built for images of a size, with the weights as its loader adapts them."""
    model = timm.create_model(name, img_size=size, features_only=True, **options).eval()
    whole = timm.create_model(name, img_size=size, **options)
    adapt = sys.modules[type(whole).__module__].checkpoint_filter_fn
    weights = {re.sub(r"^(layers|stages)_", r"\1.", key): v for key, v in weights.items()}
    for key, value in adapt(weights, whole).items():
        weights[key] = value
    model.load_state_dict({re.sub(r"^(layers|stages)\.", r"\1_", k): v for k, v in weights.items()})
    return model


@pytest.mark.parametrize("name", SWINS)
def test_a_swin_is_timms_own_built_for_the_images_size_whatever_came_before(name):
    backbone = make_swin(name)
    weights = backbone.extractor.state_dict()
    for size in SIZES:
        image = pad_to_multiple(torch.rand(1, 3, *size), 4)
        model = timms_own(name, tuple(image.shape[2:]), weights, **SWINS[name])
        with torch.no_grad():
            features, expected = backbone(image), model(image)
        for feature, wanted in zip(features.values(), expected, strict=True):
            wanted = wanted.permute(0, 3, 1, 2) if backbone._channels_last else wanted
            if min(size) >= 224:
                assert_same(feature, wanted)
            else:  # the same table, resampled in another order of sums
                torch.testing.assert_close(feature, wanted, atol=1e-4, rtol=1e-4)


def test_a_swin_learns_its_tables_from_images_smaller_than_a_window_after_inference():
    backbone = make_swin("shallow_swin_tiny_patch4_window7_224")
    with torch.inference_mode():
        backbone(torch.rand(1, 3, 64, 96))
    sum(f.square().sum() for f in backbone(torch.rand(1, 3, 64, 96)).values()).backward()
    tables = [p for n, p in backbone.named_parameters() if n.endswith("bias_table")]
    assert all(p.shape[0] == 13 * 13 and p.grad.abs().sum() > 0 for p in tables)


def test_tables_that_end_are_found_though_models_are_first_built_without_values():
    """mvitv2_tiny reads a table of 2 x 56 - 1 rows: its index is out of range above 224 pixels."""
    with pytest.raises(ValueError, match=r"mvitv2_tiny reads a table .* one size .*another model"):
        TimmBackbone("mvitv2_tiny")


@pytest.mark.parametrize("name", ["shallow_qwen3_vit_88m", "shallow_gemma4_vit_167m"])
def test_vits_of_language_models_give_timms_own_normalised_map(name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    image = torch.rand(1, 3, 97, 131)
    with torch.no_grad():
        features = backbone(image)
        (expected,) = backbone.extractor.model.forward_intermediates(
            pad_to_multiple(image, 16), indices=1, norm=True, intermediates_only=True
        )
    assert list(features) == ["res4"]
    assert_same(features["res4"], expected)


def test_weights_of_three_dimensions_stay_beside_channels_last():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(1, 2, 3))
    with pytest.raises(RuntimeError, match="rank 4"):  # what torch says to the whole module
        model.to(memory_format=torch.channels_last)
    to_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[1].weight.is_contiguous()
    backbone = TimmBackbone("lambda_resnet26t", out_features=["res4", "res5"]).eval()
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 97, 131))
    cells = [[math.ceil(side / stride) for side in (97, 131)] for stride in (16, 32)]
    assert [list(f.shape[2:]) for f in features.values()] == cells


def test_images_are_padded_no_further_than_needed():
    """mobilevitv2 folds maps of stride 32 into patches of 2x2: 64 pixels."""
    assert draw_blueprint("mobilevitv2_050", 0.0, 3).multiple == 64
