"""A stream gives what clips give, at one pass through the backbone per frame, in bounded memory."""

import gc
import logging
from collections import Counter

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from tiny_models import NUM_CLASSES, PIXELS, make_parts

from cffm_plugin import CFFM
from cffm_plugin.data import inference_clip
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.inference.streaming import resize_of
from cffm_plugin.modeling import (
    CFFMSegmentor,
    PrototypeBranch,
    SegFormerHead,
    TemporalHead,
    TimmBackbone,
)


def make_model(kind="mit", depth=2):
    torch.manual_seed(0)
    if kind == "timm":
        backbone = TimmBackbone("test_resnet")
        head = SegFormerHead(
            backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
        )
        parts = {"backbone": backbone, "sem_seg_head": head, **PIXELS}
    else:
        parts = make_parts("fpn" if kind == "fpn" else "segformer")
    temporal = TemporalHead(
        CFFM(32, depth, num_heads=4), num_classes=NUM_CLASSES, output="classifier"
    )
    branch = PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4)
    model = CFFMSegmentor(
        **parts, temporal=temporal, prototype_branch=branch if kind == "plus" else None
    )
    for parameter in temporal.parameters():  # so that the past matters
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def make_frames(count, size=(64, 96), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator).float() for _ in range(count)]


def clip_outputs(model, frames, offsets=(-9, -6, -3), **extra):
    """Logits of every frame of a video, each from its own clip."""
    with torch.no_grad():
        return [
            model([{"image": [frames[i] for i in inference_clip(t, offsets)], **extra}])[0][
                "sem_seg"
            ]
            for t in range(len(frames))
        ]


def assert_same(logits, labels, expected):
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    chosen = expected.gather(0, labels[None].long())[0]
    assert (expected.amax(dim=0) - chosen).max() <= 1e-5  # a tie may fall either way


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 50)])
@pytest.mark.parametrize("kind", ["mit", "timm", "fpn"])
def test_a_stream_gives_what_the_clips_of_a_whole_video_give(kind, size):
    model = make_model(kind)
    frames = make_frames(14, size)
    for_logits, for_labels = StreamingSegmentor(model), StreamingSegmentor(model)
    for frame, expected in zip(frames, clip_outputs(model, frames)):
        logits = for_logits.step(frame, output="logits")
        assert_same(logits, for_labels.step(frame), expected)


def test_the_past_matters():
    """Or the test above would hold for an image segmentor."""
    model = make_model()
    frames, others = make_frames(10), make_frames(10, seed=1)[:9]
    one, other = StreamingSegmentor(model), StreamingSegmentor(model)
    for a, b in zip(frames[:9], others):
        one.step(a), other.step(b)
    last = frames[9]
    assert not torch.allclose(
        one.step(last, output="logits"), other.step(last, output="logits"), atol=1e-2
    )


@pytest.mark.parametrize("offsets", [(-3, -2, -1), (-12, -2, -1), (-5, -4, -3)])
def test_any_offsets(offsets):
    model = make_model(depth=1)
    frames = make_frames(2 - 2 * offsets[0])
    stream = StreamingSegmentor(model, frame_offsets=offsets)
    for frame, expected in zip(frames, clip_outputs(model, frames, offsets)):
        torch.testing.assert_close(stream.step(frame, output="logits"), expected)


def test_prototypes_of_the_video_are_used():
    model = make_model("plus")
    frames, prototypes = make_frames(11), torch.randn(7, 32)
    stream = StreamingSegmentor(model)
    for frame, expected in zip(frames, clip_outputs(model, frames, prototypes=prototypes)):
        logits = stream.step(frame, output="logits", prototypes=prototypes)
        torch.testing.assert_close(logits, expected)
    with pytest.raises(ValueError, match="needs the prototypes"):
        stream.step(frames[0])


def test_streams_that_come_and_go_do_not_touch_each_other():
    model = make_model()
    videos = {
        "long": make_frames(14, seed=1),
        "late": make_frames(9, seed=2),
        "small": make_frames(14, (32, 40), seed=3),
    }
    starts = {"long": 0, "late": 3, "small": 0}
    expected = {name: clip_outputs(model, frames) for name, frames in videos.items()}
    stream = StreamingSegmentor(model)
    for time in range(14):
        now = {
            name: frames[time - starts[name]]
            for name, frames in videos.items()
            if 0 <= time - starts[name] < len(frames)
        }
        outputs = stream.step_all(now, output="logits")
        assert list(outputs) == list(now)
        for name, logits in outputs.items():
            wanted = expected[name][time - starts[name]]
            torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-4)


def test_memory_does_not_grow_with_the_video():
    def alive():
        gc.collect()
        return [o for o in gc.get_objects() if type(o) is torch.Tensor]

    stream = StreamingSegmentor(make_model(depth=1))
    frames = make_frames(5, (32, 32))
    of_others = {id(tensor) for tensor in alive()}

    def tensors_after(steps):
        for i in range(steps):
            stream.step(frames[i % 5])
        ours = [tensor for tensor in alive() if id(tensor) not in of_others]
        return len(ours), sum(tensor.numel() for tensor in ours)

    assert tensors_after(20) == tensors_after(100)


def test_only_tokens_that_later_frames_need_are_kept():
    def keys_and_values():
        """Those of one frame's tokens, (1, N, 2 * 32): how many there are with each N."""
        gc.collect()
        alive = [x for x in gc.get_objects() if isinstance(x, torch.Tensor) and x.dim() == 3]
        return Counter(x.shape[1] for x in alive if x.shape[0] == 1 and x.shape[2] == 64)

    stream = StreamingSegmentor(make_model(depth=1))
    before = keys_and_values()
    for frame in make_frames(20, (56, 56)):  # one window of 7 x 7 cells
        stream.step(frame)
    # 1, 4 and 9 tokens a window for 9, 6 and 3 frames back: of frames 11 to 19 the first, of 14 to
    # 19 the second, of 17 to 19 the third.
    assert keys_and_values() - before == {1: 9, 4: 6, 9: 3}


def test_a_frame_of_another_size_begins_a_new_video_and_says_so(caplog):
    model = make_model(depth=1)
    stream = StreamingSegmentor(model)
    for frame in make_frames(6):
        stream.step(frame)
    new = make_frames(6, (48, 64), seed=5)
    with caplog.at_level(logging.WARNING):
        outputs = [stream.step(frame, output="logits") for frame in new]
    assert "64x96 and are now 48x64" in caplog.text
    for logits, expected in zip(outputs, clip_outputs(model, new)):
        torch.testing.assert_close(logits, expected)


def test_after_a_reset_the_next_frame_is_the_first():
    model = make_model(depth=1)
    stream = StreamingSegmentor(model)
    frames = make_frames(6)
    first = [stream.step(frame, output="logits") for frame in frames]
    stream.reset()
    again = [stream.step(frame, output="logits") for frame in frames]
    for one, other in zip(first, again):
        assert torch.equal(one, other)


def test_arrays_are_resized_as_for_evaluation_and_the_output_has_their_size():
    model = make_model(depth=1)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    stream = StreamingSegmentor(model, resize=resize_of([T.Resize((64, 96))]))
    labels = stream.step(image, channel_order="BGR")
    assert labels.shape == (50, 70) and labels.dtype == torch.uint8
    resized = T.Resize((64, 96)).get_transform(image).apply_image(image)
    tensor = torch.from_numpy(resized[:, :, ::-1].transpose(2, 0, 1).copy())
    plain = StreamingSegmentor(model)
    assert torch.equal(labels, plain.step(tensor, output_size=(50, 70)))


def test_probabilities_sum_to_one():
    probabilities = StreamingSegmentor(make_model(depth=1)).step(
        make_frames(1)[0], output="probabilities"
    )
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(64, 96))


def test_an_image_segmentor_streams_too():
    model = CFFMSegmentor(**make_parts()).eval()
    stream = StreamingSegmentor(model)
    for frame in make_frames(5):
        with torch.no_grad():
            expected = model([{"image": frame}])[0]["sem_seg"]
        torch.testing.assert_close(stream.step(frame, output="logits"), expected)


@pytest.mark.parametrize(
    "frame, message",
    [
        (np.zeros((4, 4), np.uint8), r"\(H, W, 3\) uint8.*\(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "uint8.*float32"),
        (torch.zeros(1, 4, 4), r"\(3, H, W\), got \(1, 4, 4\)"),
    ],
)
def test_frames_of_another_kind_are_errors(frame, message):
    with pytest.raises(ValueError, match=message):
        StreamingSegmentor(make_model(depth=1)).step(frame)


def test_offsets_that_do_not_fit_the_model_are_an_error():
    with pytest.raises(ValueError, match="3 reference frames"):
        StreamingSegmentor(make_model(depth=1), frame_offsets=(-1,))
