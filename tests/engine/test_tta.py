"""Test-time augmentation averages probabilities over scales and flips."""

import pytest
import torch
from torch import nn

from cffm_plugin.data import build_clip_test_loader
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine.tta import ClipSegmentorWithTTA


class Recorder(nn.Module):
    """A segmentor whose logits are the target's mean colour and a ramp from left to right."""

    def __init__(self):
        super().__init__()
        self.clips = []

    def forward(self, inputs):
        (item,) = inputs
        self.clips.append(item["image"])
        height, width = item["height"], item["width"]
        ramp = torch.linspace(-1, 1, width).expand(1, height, width)
        return [{"sem_seg": torch.cat([ramp, -ramp])}]


@pytest.fixture
def items(cfg, tiny_vspw):
    """Clips whose frames are as they are in their files."""
    cfg.TEST.AUG.ENABLED = True
    return [batch[0] for batch in build_clip_test_loader(cfg, tiny_vspw.val)]


@pytest.fixture
def resized_items(cfg, tiny_vspw):
    return [batch[0] for batch in build_clip_test_loader(cfg, tiny_vspw.val)]


def test_every_scale_and_flip_is_seen_once_with_all_frames(cfg, items):
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = (0.5, 1.0, 2.0), True
    model = Recorder()
    ClipSegmentorWithTTA(cfg, model)([items[11]])
    assert [len(clip) for clip in model.clips] == [4] * 6
    sizes = [tuple(clip[-1].shape[1:]) for clip in model.clips]
    # FIT_SIZE is 64x48, sides go up to multiples of 16.
    assert sizes == [s for s in [(32, 32), (48, 64), (96, 128)] for _ in range(2)]
    for plain, flipped in zip(model.clips[::2], model.clips[1::2]):
        for frame, mirrored in zip(plain, flipped):
            assert torch.equal(frame.flip(-1), mirrored)


def test_a_flipped_prediction_is_flipped_back(cfg, items):
    """The ramp stays where it is in the picture, so a flip turns it around and they cancel."""
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = (1.0,), True
    (output,) = ClipSegmentorWithTTA(cfg, Recorder())([items[11]])
    probabilities = output["sem_seg"]
    torch.testing.assert_close(probabilities, probabilities.flip(-1))
    torch.testing.assert_close(probabilities.sum(0), torch.ones(probabilities.shape[1:]))


def test_one_scale_without_flip_is_the_ordinary_test(cfg, resized_items, items):
    cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP = (1.0,), False
    model = CFFMTrainer.build_model(cfg).eval()
    wrapped = ClipSegmentorWithTTA(cfg, model).eval()
    with torch.no_grad():
        for index in (0, 5, 11):  # an image, spread references, a whole clip
            (expected,), (result,) = model([resized_items[index]]), wrapped([items[index]])
            assert torch.equal(result["sem_seg"], expected["sem_seg"].softmax(0))


@pytest.mark.parametrize("enabled", [True, False])
def test_evaluation_runs_with_augmentation(cfg, enabled):
    cfg.MODEL.TEMPORAL.ENABLED = enabled
    cfg.TEST.AUG.ENABLED, cfg.TEST.AUG.SCALES = True, (0.75, 1.0)
    model = CFFMTrainer.build_model(cfg)
    results = CFFMTrainer.test(cfg, model)
    assert 0 <= results["sem_seg"]["mIoU"] <= 100


def test_no_scale_is_an_error(cfg):
    cfg.TEST.AUG.SCALES = ()
    with pytest.raises(ValueError, match=r"TEST\.AUG\.SCALES"):
        ClipSegmentorWithTTA(cfg, Recorder())
