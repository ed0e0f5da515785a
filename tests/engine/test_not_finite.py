"""Predictions that are not finite stop evaluation and pseudo labels; they never become class 0."""

import pytest
import torch

from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine.tta import ClipSegmentorWithTTA
from cffm_plugin.inference import LabelMapPredictor


class Wrapped(torch.nn.Module):
    """Somebody's own video segmentor, by which ours is known to nobody."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batched_inputs):
        return self.model(batched_inputs)


def spoil(model, value=float("nan")):
    with torch.no_grad():
        next(model.backbone.parameters()).view(-1)[0] = value
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("way", ["streams", "clips", "augmented", "others", "others' clips"])
def test_weights_that_are_not_finite_end_every_kind_of_evaluation(cfg, way, value):
    cfg.TEST.STREAMING = way in ("streams", "others")
    cfg.TEST.AUG.ENABLED, cfg.TEST.AUG.SCALES = way == "augmented", (1.0,)
    model = spoil(CFFMTrainer.build_model(cfg), value)
    said = "NaN or infinite.*MODEL.WEIGHTS"
    with pytest.raises(FloatingPointError, match=f"[Vv]ideo v0, frame 0 .*{said}"):
        CFFMTrainer.test(cfg, Wrapped(model) if "others" in way else model)


def test_smoothing_does_not_hide_values_that_are_not_finite(cfg):
    cfg.TEST.SMOOTHING = 0.9
    model = spoil(CFFMTrainer.build_model(cfg))
    for given in (model, Wrapped(model)):
        with pytest.raises(FloatingPointError, match="ideo v0, frame 0 "):
            CFFMTrainer.test(cfg, given)


@pytest.mark.parametrize("streaming", [True, False])
def test_evaluation_names_the_frame_whose_pixels_are_not_finite(cfg, streaming):
    predictor = LabelMapPredictor(cfg, CFFMTrainer.build_model(cfg), streaming=streaming)
    item = {"video_id": "night", "height": 48, "width": 64}
    frames = [torch.zeros(3, 48, 64) for _ in range(5)]
    frames[4][0, 7, 7] = float("nan")
    for index in range(4):
        predictor([item | {"image": [frames[index]], "frame_index": index}])
    bad = item | {"image": frames[1:], "frame_index": 4, "file_name": "4.jpg"}
    with pytest.raises(FloatingPointError, match="ideo night, frame 4 .*pixels"):
        predictor([bad])


def test_the_augmented_prediction_of_pseudo_labels_names_the_file(cfg):
    cfg.TEST.AUG.SCALES = (1.0,)
    model = ClipSegmentorWithTTA(cfg, spoil(CFFMTrainer.build_model(cfg))).eval()
    image = torch.zeros(3, 48, 64, dtype=torch.uint8)
    item = {"image": [image], "video_id": "v", "file_name": "a/7.jpg", "height": 48, "width": 64}
    with pytest.raises(FloatingPointError, match="Video v, .*a/7.jpg.*backbone"), torch.no_grad():
        model([item])
