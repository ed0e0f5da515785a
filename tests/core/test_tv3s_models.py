"""Models with TV3S by a call: one set of weights, as clips or as streams."""

import pytest
import torch
from torch import nn

import cffm_plugin

NUM_CLASSES = 5
SIZE = (40, 56)


def tiny_model(mode, **arguments):
    torch.manual_seed(0)
    options = {"embedding_channels": 16, "depth": 2, "window_size": 4, "shift": 2} | arguments
    return cffm_plugin.create_model("tv3s_mit_tiny", NUM_CLASSES, mode=mode, **options).eval()


def make_frames(count):
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, *SIZE), generator=random).to(torch.uint8)


def streamed(model, frames):
    segmentor = cffm_plugin.StreamingSegmentor(model)
    return [segmentor.step(frame, output="logits") for frame in frames]


def test_a_model_by_name_trains_as_published():
    """The head's loss on all frames' image logits by 0.5, on the target's video logits by 1."""
    model = tiny_model("clip").train()
    assert (model.image_loss_weight, model.video_loss_weight) == (0.5, 1.0)
    assert model.frame_offsets == (-9, -6, -3) and model.clip_length == 4
    assert model.temporal.output.classifier.weight.shape == (NUM_CLASSES, 16, 1, 1)
    labels = torch.randint(0, NUM_CLASSES, (1, 4, *SIZE))
    model(make_frames(4)[None], labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_both_modes_have_the_same_weights_and_the_full_clip_in_common():
    clip, stream = tiny_model("clip"), tiny_model("stream")
    stream.load_state_dict(clip.state_dict())
    frames = make_frames(4)
    with torch.no_grad():
        expected = clip(frames[None]).logits
        assert torch.equal(stream(frames[None]).logits, expected)


def test_a_clips_first_frames_are_the_image_segmentors_and_a_streams_are_not():
    image, frames = tiny_model("clip"), make_frames(3)
    image.temporal = None
    alone = streamed(image, frames)
    assert all(map(torch.equal, streamed(tiny_model("clip"), frames), alone))
    for ours, other in zip(streamed(tiny_model("stream"), frames), alone):
        assert not torch.allclose(ours, other, atol=1e-3)


def test_under_refine_a_wrapped_net_starts_as_itself():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1),
        nn.Conv2d(8, NUM_CLASSES, 1),
        nn.Upsample(scale_factor=4, mode="bilinear"),
    )
    options = {"depth": 2, "window_size": 4, "shift": 2, "mode": "stream"}
    model = cffm_plugin.wrap(net, temporal="TV3S", size_divisibility=4, **options).eval()
    plain = cffm_plugin.wrap(net, temporal=None, size_divisibility=4).eval()
    frames = make_frames(3)
    assert all(map(torch.equal, streamed(model, frames), streamed(plain, frames)))


def test_a_folder_brings_its_mode_along(tmp_path):
    model, frames = tiny_model("stream"), make_frames(2)
    model.save_pretrained(tmp_path / "saved")
    loaded = cffm_plugin.from_pretrained(tmp_path / "saved")
    assert all(map(torch.equal, streamed(loaded, frames), streamed(model, frames)))


def test_an_argument_that_nothing_takes_is_an_error():
    with pytest.raises(TypeError, match="num_heads"):
        tiny_model("clip", num_heads=4)
