"""What a stream refuses, and that it goes on afterwards as if the refused frame had never come."""

import threading

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from tiny_models import NUM_CLASSES, PIXELS, make_parts

from cffm_plugin import CFFM
from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.inference.streaming import resize_of
from cffm_plugin.modeling import CFFMSegmentor, MiT, PrototypeBranch, SegFormerHead, TemporalHead
from cffm_plugin.modeling.backbone import MIT_VARIANTS


def make_model(with_prototypes=False):
    parts = make_parts()
    temporal = TemporalHead(CFFM(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier")
    for parameter in temporal.parameters():  # so that the past matters
        torch.nn.init.normal_(parameter, std=0.2)
    branch = PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4)
    branch = branch if with_prototypes else None
    return CFFMSegmentor(**parts, temporal=temporal, prototype_branch=branch).eval()


def make_frames(count, size=(32, 48), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator).float() for _ in range(count)]


def with_pixel(frame, value):
    frame = frame.clone()
    frame[0, 3, 5] = value
    return frame


BAD_FRAMES = {
    "NaN": with_pixel(make_frames(1)[0], float("nan")),
    "infinite": with_pixel(make_frames(1)[0], float("inf")),
    "no rows": torch.zeros(3, 0, 48),
    "no columns": torch.zeros(3, 32, 0),
    "empty array": np.zeros((0, 48, 3), np.uint8),
    "batch": torch.zeros(1, 3, 32, 48),
    "four channels": torch.zeros(4, 32, 48),
    "double": torch.zeros(3, 32, 48, dtype=torch.float64),
    "bool": torch.zeros(3, 32, 48, dtype=torch.bool),
    "complex": torch.zeros(3, 32, 48, dtype=torch.complex64),
    "float array": np.zeros((32, 48, 3), np.float32),
    "grey array": np.zeros((32, 48), np.uint8),
    "unread file": None,
    "list": [1, 2],
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_a_refused_frame_is_an_error_that_names_the_stream_and_leaves_its_past(kind):
    model, frames = make_model(), make_frames(8)
    stream, undisturbed = StreamingSegmentor(model), StreamingSegmentor(model)
    for frame in frames[:6]:
        stream.step(frame, stream="left"), undisturbed.step(frame)
    with pytest.raises((ValueError, FloatingPointError), match="Stream left"):
        stream.step(BAD_FRAMES[kind], stream="left")
    for frame in frames[6:]:
        expected = undisturbed.step(frame, output="logits")
        assert torch.equal(stream.step(frame, output="logits", stream="left"), expected)


def test_none_where_an_image_could_not_be_read_is_told_as_that():
    with pytest.raises(ValueError, match="OpenCV gives None for an image that it can't read"):
        StreamingSegmentor(make_model()).step(None)


@pytest.mark.parametrize("output", ["labels", "probabilities", "logits"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_values_that_are_not_finite_are_errors_in_every_kind_of_output(output, smoothing):
    stream = StreamingSegmentor(make_model(), smoothing=smoothing)
    good = make_frames(3)
    for frame in good[:2]:
        stream.step(frame)
    told = pytest.raises(FloatingPointError, match="frame 2 .*So are pixels of its frames")
    with told:
        stream.step(BAD_FRAMES["NaN"], output=output)
    assert stream.step(good[2], output="probabilities").isfinite().all()


def test_the_error_names_weights_that_are_not_finite():
    model = make_model()
    with torch.no_grad():
        next(model.backbone.parameters())[0] = float("nan")
    with pytest.raises(FloatingPointError, match="So are weights.*, backbone.*MODEL.WEIGHTS"):
        StreamingSegmentor(model).step(make_frames(1)[0])


def test_prototypes_that_are_not_finite_are_named():
    stream, prototypes = StreamingSegmentor(make_model(with_prototypes=True)), torch.randn(4, 32)
    frames = make_frames(4)
    for frame in frames[:3]:
        stream.step(frame)
    prototypes[1, 1] = float("nan")
    with pytest.raises(FloatingPointError, match="frame 3 .*prototypes"):
        stream.step(frames[3], prototypes=prototypes)


def test_an_overflow_of_float16_is_an_error_that_names_the_key():
    model = make_model()
    with torch.no_grad():
        mlp = model.backbone.block1[0].mlp
        mlp.fc1.bias.fill_(6e4)
        mlp.dwconv.dwconv.weight.fill_(1)  # sums nine of them
    frame = make_frames(1)[0]
    assert StreamingSegmentor(model).step(frame, output="logits").isfinite().all()
    assert StreamingSegmentor(model, autocast=torch.bfloat16).step(frame).shape == (32, 48)
    with pytest.raises(FloatingPointError, match='TEST.AUTOCAST to "bfloat16"'):
        StreamingSegmentor(model, autocast=torch.float16).step(frame)


def test_several_streams_step_all_together_or_not_at_all():
    model = make_model()
    videos = {"a": make_frames(9), "small": make_frames(9, (24, 24), seed=1)}
    videos["late"] = make_frames(9, seed=2)
    stream, undisturbed = StreamingSegmentor(model), StreamingSegmentor(model)

    def frames_of(time):
        return {key: video[time] for key, video in videos.items() if key != "late" or time > 5}

    for time in range(6):
        stream.step_all(frames_of(time)), undisturbed.step_all(frames_of(time))
    for key, bad in [("late", "NaN"), ("a", "NaN"), ("small", "no rows"), ("a", "double")]:
        with pytest.raises((ValueError, FloatingPointError), match=f"Stream {key}"):
            stream.step_all(frames_of(6) | {key: BAD_FRAMES[bad]})
    calls = []

    def fail_at_the_second_size(*_):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError

    hook = model.backbone.register_forward_pre_hook(fail_at_the_second_size)
    with pytest.raises(MemoryError):
        stream.step_all(frames_of(6))
    hook.remove()
    for time in range(6, 9):
        expected = undisturbed.step_all(frames_of(time), output="logits")
        found = stream.step_all(frames_of(time), output="logits")
        assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (4, 5, 6), (4.5, 6)])
def test_an_output_size_that_is_none_is_an_error(size):
    with pytest.raises(ValueError, match="Stream 0: output_size.*height and width"):
        StreamingSegmentor(make_model()).step(make_frames(1)[0], output_size=size)


def test_a_frame_of_another_size_that_is_refused_does_not_begin_a_new_video():
    model, frames = make_model(), make_frames(6)
    stream, undisturbed = StreamingSegmentor(model), StreamingSegmentor(model)
    for frame in frames[:5]:
        stream.step(frame), undisturbed.step(frame)
    with pytest.raises(FloatingPointError):
        stream.step(torch.full((3, 40, 40), float("nan")))
    expected = undisturbed.step(frames[5], output="logits")
    assert torch.equal(stream.step(frames[5], output="logits"), expected)


def test_threads_with_a_video_each_get_what_they_would_alone():
    model = make_model()
    shared, found = StreamingSegmentor(model), {}
    videos = {name: make_frames(8, seed=name) for name in range(3)}

    def run(name):
        found[name] = [shared.step(f, output="logits", stream=name) for f in videos[name]]

    threads = [threading.Thread(target=run, args=(name,)) for name in videos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, video in videos.items():
        alone = StreamingSegmentor(model)
        for frame, logits in zip(video, found[name], strict=True):
            assert torch.equal(alone.step(frame, output="logits"), logits)


def test_calls_of_two_threads_do_not_overlap():
    model, inside, overlaps = make_model(), [], []

    def enter(*_):
        overlaps.append(len(inside))
        inside.append(1)

    model.backbone.register_forward_pre_hook(enter)
    model.backbone.register_forward_hook(lambda *_: inside.pop() and None)
    shared, frames = StreamingSegmentor(model), make_frames(12)
    threads = [
        threading.Thread(target=lambda: [shared.step(frame) for frame in frames]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [0] * 36


def test_streams_that_nobody_resets_are_bounded_and_the_error_says_what_to_do():
    frame = make_frames(1)[0]
    stream = StreamingSegmentor(make_model(), max_streams=3)
    for name in range(3):
        stream.step(frame, stream=name)
    with pytest.raises(RuntimeError, match=r"4 streams.*TEST.MAX_STREAMS.*is 3.*reset\(stream\)"):
        stream.step(frame, stream="new")
    stream.step(frame, stream=0)  # those under way go on
    stream.reset(1)
    stream.step(frame, stream="new")
    with pytest.raises(ValueError, match="MAX_STREAMS.*at least 1, got 0"):
        StreamingSegmentor(make_model(), max_streams=0)


def test_a_video_of_one_frame_and_one_of_a_single_pixel_work():
    model = make_model()
    for frames in (make_frames(1), make_frames(6, (1, 1)), make_frames(5, (1, 70))):
        stream = StreamingSegmentor(model)
        for frame in frames:
            labels = stream.step(frame)
            assert labels.shape == frame.shape[1:] and int(labels.max()) < NUM_CLASSES
    resized = StreamingSegmentor(model, resize=resize_of([T.ResizeShortestEdge(32, 64)]))
    assert resized.step(np.full((1, 1, 3), 200, np.uint8)).shape == (1, 1)


def test_a_frame_of_twelve_million_pixels_works():
    resize = resize_of([T.ResizeShortestEdge(48, 64)])
    stream = StreamingSegmentor(make_model(), resize=resize)
    for _ in range(5):
        labels = stream.step(np.full((3000, 4000, 3), 90, np.uint8))
    assert labels.shape == (3000, 4000) and labels.dtype == torch.uint8


@pytest.mark.parametrize(
    "num_classes, dtype", [(255, torch.uint8), (256, torch.uint8), (257, torch.int64)]
)
def test_the_last_of_many_classes_is_itself_in_a_label_map(num_classes, dtype):
    backbone = MiT(MIT_VARIANTS["mit_tiny"])
    shapes = backbone.output_shape()
    head = SegFormerHead(shapes, num_classes=num_classes, embedding_channels=32, norm="BN")
    with torch.no_grad():
        head.predictor.bias[-1] = 100.0
    model = CFFMSegmentor(backbone=backbone, sem_seg_head=head, **PIXELS)
    labels = StreamingSegmentor(model).step(make_frames(1)[0])
    assert labels.dtype == dtype
    assert (labels == num_classes - 1).all()
