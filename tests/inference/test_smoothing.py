"""TEST.SMOOTHING: class probabilities averaged exponentially over a stream, for any model."""

import pytest
import torch
from tiny_models import NUM_CLASSES, make_parts

from cffm_plugin import CFFM
from cffm_plugin.inference import ClipsOfFrames, LabelMapPredictor, StreamingSegmentor
from cffm_plugin.modeling import CFFMSegmentor, TemporalHead

A = 0.6


def make_model(temporal):
    torch.manual_seed(0)
    head = (
        TemporalHead(CFFM(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier")
        if temporal
        else None
    )
    return CFFMSegmentor(**make_parts(), temporal=head).eval()


def make_frames(count=12, size=(64, 96)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator).float() for _ in range(count)]


@pytest.mark.parametrize("temporal", [False, True], ids=["image", "video"])
def test_the_average_is_that_of_the_formula(temporal):
    model, frames = make_model(temporal), make_frames()
    plain = StreamingSegmentor(model)
    smoothed = StreamingSegmentor(model, smoothing=A)
    average = None
    for frame in frames:
        with torch.no_grad():
            coarse = plain.step(frame, output="logits")
        found = smoothed.step(frame, output="probabilities")
        # The formula is worked at the head's stride; at full size the two differ by interpolation.
        now = coarse.softmax(dim=0)
        average = now if average is None else A * average + (1 - A) * now
        torch.testing.assert_close(found, average, rtol=0, atol=0.02)
        torch.testing.assert_close(found.sum(dim=0), torch.ones(frame.shape[1:]))


def test_without_smoothing_and_on_first_frames_nothing_changes():
    model, frames = make_model(True), make_frames(5)
    plain = StreamingSegmentor(model)
    none = StreamingSegmentor(model, smoothing=0.0)
    smoothed = StreamingSegmentor(model, smoothing=0.9)
    for t, frame in enumerate(frames):
        expected = plain.step(frame)
        assert torch.equal(none.step(frame), expected)
        assert torch.equal(smoothed.step(frame), expected) or t > 0


def test_streams_are_averaged_each_by_itself_and_forgotten_by_a_reset():
    model = make_model(True)
    first, second = make_frames(6), make_frames(12)[6:]
    alone = StreamingSegmentor(model, smoothing=A)
    expected = [alone.step(frame, output="logits") for frame in first]
    together = StreamingSegmentor(model, smoothing=A)
    for t in range(6):
        outputs = together.step_all({"a": first[t], "b": second[t]}, output="logits")
        torch.testing.assert_close(outputs["a"], expected[t], rtol=0, atol=1e-4)
    together.reset("a")
    again = together.step(first[0], output="logits", stream="a")
    torch.testing.assert_close(again, expected[0], rtol=0, atol=1e-4)


def test_smoothing_makes_noise_steadier():
    model, frames = make_model(False), make_frames(12)

    def changes(smoothing):
        stream = StreamingSegmentor(model, smoothing=smoothing)
        labels = [stream.step(frame) for frame in frames]
        return sum((a != b).float().mean() for a, b in zip(labels, labels[1:]))

    assert changes(0.9) < changes(0.5) < changes(0.0)


def test_models_of_other_kinds_are_averaged_too():
    def records():
        return [{"image": frame, "frame_index": t} for t, frame in enumerate(frames)]

    class Constant(torch.nn.Module):
        def forward(self, batched_inputs):
            mean = [item["image"][-1].mean() / 255 for item in batched_inputs]
            return [{"sem_seg": torch.stack([m, 1 - m])[:, None, None].log()} for m in mean]

    frames = [torch.full((3, 8, 8), value) for value in (255.0 * 0.9, 255.0 * 0.1, 255.0 * 0.1)]
    model = ClipsOfFrames(Constant(), frame_offsets=(), smoothing=0.5)
    for _ in range(2):  # a video begins anew
        outputs = [model([record])[0]["sem_seg"][0].exp().item() for record in records()]
        assert outputs == pytest.approx([0.9, 0.5, 0.3])


@pytest.mark.parametrize("weight", [-0.1, 1.0, 2.0])
def test_a_share_of_one_or_more_is_an_error(weight):
    with pytest.raises(ValueError, match="TEST.SMOOTHING.*0 .none. to below 1"):
        StreamingSegmentor(make_model(False), smoothing=weight)


def test_clips_are_not_smoothed_silently():
    with pytest.raises(ValueError, match="TEST.SMOOTHING.*TEST.STREAMING True"):
        LabelMapPredictor(
            make_model(False), frame_offsets=(-9, -6, -3), streaming=False, smoothing=A
        )
