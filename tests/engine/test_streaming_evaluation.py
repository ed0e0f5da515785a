"""Evaluation streams by default, and gives the digits of the clips."""

import pytest
import torch

from cffm_plugin.engine import CFFMTrainer


def make_model(cfg):
    torch.manual_seed(0)
    model = CFFMTrainer.build_model(cfg)
    for parameter in model.parameters():  # so that neighbouring frames differ
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def count_calls(model):
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_streams_give_the_digits_of_clips_at_a_pass_per_frame(cfg):
    cfg.TEST.SAVE_PREDICTIONS = True
    model = make_model(cfg)
    calls = count_calls(model)
    streamed = CFFMTrainer.test(cfg, model)
    assert len(calls) == 12 + 20  # the frames of both videos
    calls.clear()
    cfg.TEST.STREAMING = False
    clips = CFFMTrainer.test(cfg, model)
    assert len(calls) == 2 * 3 + 4 * (12 + 20 - 2 * 3)  # no past in the first three frames
    assert repr(streamed) == repr(clips)


def test_the_image_baseline_is_evaluated_alike(cfg):
    cfg.MODEL.TEMPORAL.ENABLED = False
    model = make_model(cfg)
    calls = count_calls(model)
    streamed = CFFMTrainer.test(cfg, model)
    assert len(calls) == 12 + 20
    cfg.TEST.STREAMING = False
    assert repr(streamed) == repr(CFFMTrainer.test(cfg, model))


def test_models_of_other_kinds_get_clips_and_give_logits(cfg):
    class Wrapped(torch.nn.Module):
        """Somebody's own video segmentor, by which ours is known to nobody."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, batched_inputs):
            return self.model(batched_inputs)

    model = make_model(cfg)
    expected, found = CFFMTrainer.test(cfg, model), CFFMTrainer.test(cfg, Wrapped(model))
    for name, score in expected["sem_seg"].items():
        assert found["sem_seg"][name] == pytest.approx(score, abs=0.01, nan_ok=True)


def test_mixed_precision_is_near_and_unknown_ones_are_errors(cfg):
    model = make_model(cfg)
    expected = CFFMTrainer.test(cfg, model)["sem_seg"]["pACC"]
    cfg.TEST.AUTOCAST = "bfloat16"
    assert CFFMTrainer.test(cfg, model)["sem_seg"]["pACC"] == pytest.approx(expected, abs=5)
    cfg.TEST.AUTOCAST = "half"
    with pytest.raises(ValueError, match="TEST.AUTOCAST.*'half'"):
        CFFMTrainer.test(cfg, model)


def test_smoothing_is_evaluated_and_needs_streams(cfg):
    model = make_model(cfg)
    plain = CFFMTrainer.test(cfg, model)["sem_seg"]["mVC8"]
    cfg.TEST.SMOOTHING = 0.8
    assert CFFMTrainer.test(cfg, model)["sem_seg"]["mVC8"] > plain
    cfg.TEST.AUG.ENABLED = True
    with pytest.raises(ValueError, match="TEST.SMOOTHING.*TEST.AUG.ENABLED False"):
        CFFMTrainer.test(cfg, model)
