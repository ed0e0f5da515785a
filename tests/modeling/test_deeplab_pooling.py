"""DeepLab's heads pool over windows of the training crop; what they do not tile is told how."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from tiny_models import make_clip

from cffm_plugin.config import load_config

HEAD = Path(__file__).parents[2] / "projects" / "DeepLabV3Plus" / "head.py"
V3 = [
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res5']", "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "32"),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "8", "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", "8"),
]
V3_PLUS = [
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res5']"),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "8", "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", "8"),
    *("MODEL.SEM_SEG_HEAD.PROJECT_FEATURES", "['res2']"),
    *("MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", "[8]"),
]


def build(head, *overrides):
    cfg = load_config(
        "",
        [
            *("MODEL.META_ARCHITECTURE", "CFFMSegmentor", "MODEL.DEVICE", "cpu"),
            *("MODEL.BACKBONE.NAME", "build_mit_backbone", "MODEL.MIT.NAME", "mit_tiny"),
            *("MODEL.SEM_SEG_HEAD.NAME", head, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"),
            *("MODEL.SEM_SEG_HEAD.NORM", "GN", "MODEL.SEM_SEG_HEAD.LOSS_TYPE", "cross_entropy"),
            *("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
            *("INPUT.CROP.SIZE", "[64, 64]", "MODEL.CFFM.DEPTH", "1", "MODEL.CFFM.NUM_HEADS", "2"),
            *("MODEL.IMPORTS", f"['{HEAD}']", *overrides),
        ],
    )
    cfg.MODEL.SEM_SEG_HEAD.NORM = ""
    torch.manual_seed(0)
    return build_model(cfg)


@pytest.mark.parametrize("enabled", ["True", "False"])
@pytest.mark.parametrize("head, keys", [("DeepLabV3Head", V3), ("DeepLabV3PlusHead", V3_PLUS)])
def test_sizes_that_the_windows_do_not_tile_are_told_what_to_write(head, keys, enabled, caplog):
    model = build(head, *keys, "MODEL.TEMPORAL.ENABLED", enabled)
    assert f"AnySize{head}" in caplog.text  # before hours of training on crops
    frames = 4 if enabled == "True" else 1
    said = rf"3x4 cells.*windows of 2x2.*INPUT\.CROP\.SIZE.*HEAD\.NAME.*AnySize{head}\b.*IMPORTS"
    clip = make_clip((96, 128), frames=frames)
    clip["sem_seg"] = [torch.zeros(96, 128, dtype=torch.long)] * frames
    for training in (False, True):
        with pytest.raises(ValueError, match=said):
            model.train(training)([clip])
    with torch.no_grad():
        model.eval()([make_clip((64, 128), frames=frames)])


@pytest.mark.parametrize("head, keys", [("DeepLabV3Head", V3), ("DeepLabV3PlusHead", V3_PLUS)])
def test_the_projects_heads_take_them_with_the_same_weights(head, keys):
    stock, ours = build(head, *keys).eval(), build(f"AnySize{head}", *keys).eval()
    ours.load_state_dict(stock.state_dict())
    of_the_crop, other = make_clip((64, 64)), make_clip((96, 128))
    with torch.no_grad():
        (expected,), (found,) = stock([of_the_crop]), ours([of_the_crop])
        assert torch.allclose(found["sem_seg"], expected["sem_seg"], atol=1e-5)
        assert ours([other])[0]["sem_seg"].shape == (3, 96, 128)
