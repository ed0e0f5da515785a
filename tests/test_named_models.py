"""Models by name, in Python and as shipped configs, are one."""

import pytest
from detectron2.modeling import build_model
from torch import nn

import cffm_plugin
from cffm_plugin.config import load_config
from cffm_plugin.core.models import MODELS
from cffm_plugin.shipped_configs import list_configs

BOTH = sorted({name.removeprefix("vspw/") for name in list_configs()} & set(MODELS))


def settings(model):
    """What decides how it trains and predicts, besides its weights' values."""
    temporal = model.temporal
    return {
        "shapes": {name: tuple(value.shape) for name, value in model.state_dict().items()},
        "dropout": [m.p for m in model.modules() if isinstance(m, nn.Dropout | nn.Dropout2d)],
        "drop_path": [m.rate for m in model.modules() if hasattr(m, "rate")],
        "temporal": temporal and [type(m).__name__ for m in temporal.module.children()],
        "stride": temporal and temporal.stride,
        "loss_weights": temporal and (model.image_loss_weight, model.video_loss_weight),
        "frame_offsets": tuple(model.frame_offsets),
        "pixels": (model.pixel_mean.flatten().tolist(), model.pixel_std.flatten().tolist()),
        "image_format": model.image_format,
        "keep": getattr(temporal and temporal.module, "keep", None),
    }


@pytest.mark.parametrize("name", BOTH)
def test_a_model_of_a_name_is_that_of_the_config_of_this_name(name):
    keys = ("MODEL.DEVICE", "cpu", "MODEL.SEM_SEG_HEAD.NORM", "BN")
    cfg = load_config(f"vspw/{name}", [*keys, "MODEL.WEIGHTS", ""])
    configured = build_model(cfg)
    assert settings(cffm_plugin.create_model(name, num_classes=124)) == settings(configured)


def test_the_shipped_configs_of_every_kind_have_such_a_name():
    assert {name.split("_mit_")[0] for name in BOTH} == {"cffm", "mrcfa", "segformer", "tv3s"}
