"""What holds of every net that is wrapped, whichever library it is of."""

import torch
from torch import nn

import cffm_plugin

NUM_CLASSES = 5
OPTIONS = {"num_heads": 4, "depth": 1}


def make_clip(size, frames=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (1, frames, 3, *size), generator=generator).float()


def normalised(model, frame):
    """A frame (3, H, W), 0..255, RGB, as the net takes it: (1, 3, H', W')."""
    frame = frame.flip(0) if model.image_format == "BGR" else frame
    batch, _ = model.normalise_and_pad([frame])
    return batch


def assert_starts_as(model, own, size, tolerance=1e-4):
    """Before training, a clip's logits are what ``own`` makes of its target as the net takes it.

    Args:
        model: in evaluation mode.
        own: (1, 3, H', W') -> scores (1, K, H', W'), of the padded image.
        size: of frames.
    """
    clip = make_clip(size)
    with torch.no_grad():
        expected = own(normalised(model, clip[0, -1]))[0, :, : size[0], : size[1]]
        found = model(clip).logits[0]
    assert found.shape == expected.shape == (model.num_classes, *size)
    spread = expected.max() - expected.min()
    assert spread > 1e-3  # or the comparison would say nothing
    assert float((found - expected).abs().max()) <= tolerance * max(1.0, float(spread))


def make_the_past_matter(model):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def assert_streams_as_clips(model, size):
    """The labels of the tenth frame of a stream are those of its clip, and look at its past."""
    make_the_past_matter(model)
    frames = make_clip(size, frames=10)[0]
    with torch.no_grad():
        expected, alone = (model(frames[of][None]) for of in ([0, 3, 6, 9], [9]))
    *_, last = model.stream(frames)
    assert torch.equal(last.labels.long(), expected.labels[0])
    assert not torch.equal(alone.logits, expected.logits)


def assert_trains(model, size):
    """One step's gradients are there and finite for all that trains."""
    model.train()
    clips = torch.cat([make_clip(size), make_clip(size).flip(1)])
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(0, model.num_classes, (2, *size), generator=generator)
    out = model(clips, labels=labels)
    assert out.loss.isfinite()
    out.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    model.eval()


def assert_comes_back(model, folder, net, size):
    """What is saved and loaded, around ``net`` where it is given, gives the same."""
    model.save_pretrained(folder)
    again = cffm_plugin.from_pretrained(folder, net=net)
    clip = make_clip(size)
    with torch.no_grad():
        torch.testing.assert_close(again(clip).logits, model.eval()(clip).logits)


def interpolated(logits, size):
    """As libraries' post-processing resizes logits: straight to the image."""
    return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
