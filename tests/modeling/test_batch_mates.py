"""A prediction depends on its own clip: not on the others of the batch, nor on their sizes."""

import pytest
import torch
from tiny_models import make_clip, make_parts

from cffm_plugin import CFFM
from cffm_plugin.modeling import CFFMSegmentor, TemporalHead


def segmentor(head, temporal):
    parts = make_parts(head)
    if temporal:
        module = CFFM(32, 1, num_heads=4)
        parts["temporal"] = TemporalHead(module, num_classes=6, output="classifier")
    return CFFMSegmentor(**parts).eval()


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("head", ["segformer", "fpn"])
def test_single_frames_short_clips_and_clips_keep_their_predictions_in_a_batch(head, temporal):
    model = segmentor(head, temporal)
    sizes = [((45, 70), 1), ((64, 96), 2), ((97, 131), 1), ((45, 70), 4), ((64, 96), 1)]
    if not temporal:
        sizes = [(size, 1) for size, _ in sizes]
    batch = [make_clip(size, frames) for size, frames in sizes]
    with torch.no_grad():
        together = model(batch)
        for item, found in zip(batch, together, strict=True):
            (alone,) = model([item])
            assert alone["sem_seg"].shape[1:] == item["image"][-1].shape[1:]
            torch.testing.assert_close(found["sem_seg"], alone["sem_seg"], atol=1e-5, rtol=1e-5)
