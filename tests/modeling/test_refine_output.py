"""Output "refine": before the first step, the video segmentor is the image segmentor."""

import pytest
import torch
from detectron2.modeling import SemanticSegmentor
from tiny_models import NUM_CLASSES, make_clip, make_parts
from torch import nn

from cffm_plugin import CFFM
from cffm_plugin.core import CFFMRecall
from cffm_plugin.core.recall import FADE_IN_STEPS
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.modeling import (
    CFFMSegmentor,
    FrameMap,
    PrototypeBranch,
    TemporalHead,
    WindowedModule,
)

SIZES = [(64, 96), (97, 131)]


class MeanOfPast(WindowedModule):
    """A temporal module that does not know how to start as the identity."""

    dim, num_references = 32, 3

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(32, 32, kernel_size=1)

    def assemble(self, frame, slots=None):
        return FrameMap(frame.cells)

    def mine(self, target, references):
        past = torch.stack([tokens.frame for tokens in references]).mean(dim=0)
        return target.cells + self.mix(past)


MODULES = {
    "cffm": lambda: CFFM(32, 2, num_heads=4),
    "recall": lambda: CFFMRecall(32, 1, num_heads=4),
    "wider": lambda: CFFM(40, 1, num_heads=4),
    "stranger": MeanOfPast,
}


def make_segmentor(head="segformer", module="cffm", stride=8, **kwargs):
    parts = make_parts(head)
    temporal = TemporalHead(
        MODULES[module](),
        num_classes=NUM_CLASSES,
        output="refine",
        stride=stride,
        embedding_channels=32,
    )
    return CFFMSegmentor(**parts, temporal=temporal, **kwargs)


def train(model, steps=3):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        losses = model.train()([make_clip((64, 96), labels=True)])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("head", ["segformer", "fpn"])
def test_an_untrained_one_is_the_image_segmentor_bit_for_bit(head, module, stride, size):
    plain = SemanticSegmentor(**make_parts(head)).eval()
    ours = make_segmentor(head, module, stride).eval()
    ours.load_state_dict(plain.state_dict(), strict=False)
    stream = StreamingSegmentor(ours)
    frames = [frame for _ in range(3) for frame in make_clip(size)["image"]]
    with torch.no_grad():
        for frame in frames:
            (expected,) = plain([{"image": frame}])
            assert torch.equal(stream.step(frame, output="logits"), expected["sem_seg"])
        (of_clip,) = ours([{"image": frames[-4:]}])
    assert torch.equal(of_clip["sem_seg"], expected["sem_seg"])


@pytest.mark.parametrize("module", MODULES)
def test_training_moves_every_part_and_the_past_comes_to_matter(module):
    weights = {"image_loss_weight": 0.5, "video_loss_weight": 1.0}
    model = make_segmentor(module=module, **weights).train()
    if module == "recall":  # all of it, as after its first hundred steps
        model.temporal.module.recall.steps.fill_(FADE_IN_STEPS)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    model = train(model)
    for name, weight in model.temporal.named_parameters(prefix="temporal"):
        assert weight.isfinite().all() and not torch.equal(weight, before[name]), name
    clip = make_clip((64, 96))
    other = clip | {"image": [torch.zeros_like(clip["image"][0]), *clip["image"][1:]]}
    with torch.no_grad():
        (one,), (two,) = model([clip]), model([other])
    assert not torch.equal(one["sem_seg"], two["sem_seg"])


def test_there_is_no_second_classifier():
    names = [name for name, _ in make_segmentor().named_parameters()]
    shapes = [tuple(p.shape) for p in make_segmentor().temporal.parameters()]
    assert not any("classifier" in name for name in names)
    assert not any(shape[0] == NUM_CLASSES for shape in shapes)


@pytest.mark.parametrize("module", MODULES)
def test_a_trained_stream_equals_clips(module):
    model = train(make_segmentor(module=module))
    stream = StreamingSegmentor(model, frame_offsets=(-3, -2, -1))
    frames = [frame for _ in range(2) for frame in make_clip((97, 131))["image"]]
    for t, frame in enumerate(frames):
        streamed = stream.step(frame, output="logits")
        if t >= 3:
            with torch.no_grad():
                (clip,) = model([{"image": frames[t - 3 : t + 1]}])
            assert torch.equal(streamed, clip["sem_seg"])


def test_a_frozen_image_segmentor_stays_and_the_module_trains():
    model = make_segmentor(freeze_image_segmentor=True)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    train(model)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) != name.startswith("temporal."), name


def test_prototypes_add_their_logits_at_the_heads_stride():
    branch = PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4)
    model = make_segmentor(prototype_branch=branch).eval()
    clip = make_clip((64, 96), prototypes=torch.randn(5, 32))
    with torch.no_grad():
        (result,) = model([clip])
    assert result["sem_seg"].shape == (NUM_CLASSES, 64, 96)
