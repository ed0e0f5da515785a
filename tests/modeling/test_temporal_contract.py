"""What holds for every temporal module, windowed or recurrent: in clips, streams and training."""

import copy
import logging
from dataclasses import dataclass

import pytest
import torch
from tiny_models import NUM_CLASSES, make_parts
from torch import Tensor, nn

from cffm_plugin.core import (
    CFFM,
    MRCFA,
    TV3S,
    CFFMMemory,
    CFFMRecall,
    FrameMap,
    RecurrentModule,
    Refined,
    StreamingSegmentor,
    TemporalHead,
    WindowedModule,
)
from cffm_plugin.core.clips import inference_clip
from cffm_plugin.core.compiling import compile_segmentor
from cffm_plugin.core.nested import tensors_in
from cffm_plugin.core.recall import FADE_IN_STEPS
from cffm_plugin.inference import LabelMapPredictor
from cffm_plugin.modeling import CFFMSegmentor, PrototypeBranch

SIZE = (40, 56)
OFFSETS = (-4, -2, -1)
LEVEL_CHANNELS = 32  # of the tiny MiT's res3


@dataclass(frozen=True)
class Memory:
    """(N, 32, h, w), and how often it was written to, (N, 1)."""

    cells: Tensor
    count: Tensor


class Averaging(RecurrentModule):
    """Mixes the cells with a running mean of what it made of the frames before; its grid is whole
    squares of 4x4 cells, and it looks at a level of the backbone and at the image."""

    dim, levels, takes_image = 32, ("res3",), True

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(2 * self.dim + LEVEL_CHANNELS + 3, self.dim, kernel_size=1)
        self.compiled_with: dict = {}

    def cell_grid(self, height, width):
        return -(-height // 4) * 4, -(-width // 4) * 4

    def compile_parts(self, **options):
        self.compiled_with = options
        self.mix.compile(**options)

    def step(self, frame, state):
        cells = frame.cells
        if state is None:
            state = Memory(torch.zeros_like(cells), cells.new_zeros(len(cells), 1))
        further = [
            nn.functional.interpolate(x, size=cells.shape[2:]) for x in (*frame.levels, frame.image)
        ]
        refined = cells + self.mix(torch.cat([cells, state.cells, *further], dim=1))
        return refined, Memory(0.7 * state.cells + 0.3 * refined, state.count + 1)


def tv3s(mode):
    return TV3S.build(32, {}, mode=mode, depth=2, window_size=4, shift=2, num_states=4)


MODULES = {
    "cffm": lambda: CFFM(32, 1, num_heads=4),
    "recall": lambda: CFFMRecall(32, 1, num_heads=4),
    "mrcfa": lambda: MRCFA(32, (32, 64, 96)),  # of the tiny MiT's res3, res4, res5
    "memory": lambda: CFFMMemory(32, 1, num_heads=4),
    "recurrent": Averaging,
    "tv3s_stream": lambda: tv3s("stream"),
    "tv3s_clip": lambda: tv3s("clip"),
}


def make_model(kind, output="classifier", **arguments):
    parts = make_parts()
    module = MODULES[kind]() if isinstance(kind, str) else kind
    temporal = TemporalHead(module, num_classes=NUM_CLASSES, output=output)
    for parameter in temporal.parameters():  # so that the past matters
        nn.init.normal_(parameter, std=0.2)
    if isinstance(module, CFFMRecall):
        module.recall.steps.fill_(FADE_IN_STEPS)
    if isinstance(module, TV3S):  # short steps: a state outlives the cells of a window
        for block in module.blocks:
            nn.init.constant_(block.mixer.dt_proj.bias, -4.0)
            nn.init.ones_(block.norm.weight)
        nn.init.ones_(module.norm.weight)
    if isinstance(module, CFFMMemory):
        module.steps.fill_(FADE_IN_STEPS)
    return CFFMSegmentor(**parts, temporal=temporal, frame_offsets=OFFSETS, **arguments).eval()


def make_frames(count, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator).float() for _ in range(count)]


def clip_at(model, index):
    """The frames of the clip that frame ``index`` of a stream is the target of."""
    if isinstance(model.temporal.module, RecurrentModule):
        return range(index + 1)
    return inference_clip(index, OFFSETS)


def streamed(stream, frames, key=0):
    return [stream.step(frame, output="logits", stream=key) for frame in frames]


@pytest.fixture(params=MODULES)
def model(request):
    return make_model(request.param)


def test_a_stream_is_the_clip_of_its_frames_to_the_bit(model):
    frames, stream = make_frames(7), StreamingSegmentor(model)
    for index, logits in enumerate(streamed(stream, frames)):
        clip = {"image": [frames[i] for i in clip_at(model, index)]}
        with torch.no_grad():
            assert torch.equal(logits, model([clip])[0]["sem_seg"]), index


def test_the_past_matters(model):
    frames, others = make_frames(5), make_frames(4, seed=1)
    stream = StreamingSegmentor(model)
    one = streamed(stream, frames)[-1]
    other = streamed(stream, [*others, frames[-1]], "other")[-1]
    assert not torch.allclose(one, other, atol=1e-2)


def test_after_a_reset_a_stream_is_new_to_the_bit(model):
    frames, stream = make_frames(5), StreamingSegmentor(model)
    first = streamed(stream, frames)
    stream.reset()
    assert all(map(torch.equal, streamed(stream, frames), first))


def test_what_a_stream_keeps_does_not_grow(model):
    encoded, pasts = model.encode(make_frames(1)), [model.first_past(OFFSETS)]
    sizes = []
    with torch.inference_mode():
        for _ in range(40):
            _, pasts = model.advance(encoded, pasts)
            sizes.append(sum(t.untyped_storage().nbytes() for t in tensors_in(pasts)))
    assert len(set(sizes[-OFFSETS[0] :])) == 1 and sizes[-1] > 0


def test_a_stream_that_stays_behind_does_not_keep_what_was_of_others(model):
    def bytes_of_one(number):
        encoded = model.encode(make_frames(number))
        pasts = [model.first_past(OFFSETS)] * number
        for _ in range(5):
            _, pasts = model.advance(encoded, pasts)
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors_in(pasts[0]))

    with torch.inference_mode():
        assert bytes_of_one(3) == bytes_of_one(1)


def test_streams_of_all_ages_in_one_batch_are_each_as_if_alone(model):
    videos = {key: make_frames(7, seed=key) for key in range(3)}
    starts = {0: 0, 1: 1, 2: 4}
    alone = {key: streamed(StreamingSegmentor(model), videos[key]) for key in videos}
    stream = StreamingSegmentor(model)
    for time in range(7):
        ages = {key: time - start for key, start in starts.items() if time >= start}
        frames = {key: videos[key][age] for key, age in ages.items()}
        for key, logits in stream.step_all(frames, output="logits").items():
            torch.testing.assert_close(logits, alone[key][ages[key]], rtol=1e-5, atol=1e-5)


def test_a_step_that_fails_changes_nothing(model, monkeypatch):
    frames = make_frames(7)
    expected = streamed(StreamingSegmentor(model), frames)
    stream = StreamingSegmentor(model)
    for frame, logits in zip(frames, expected):
        with pytest.raises(FloatingPointError, match="Stream other, frame 0"):
            stream.step_all({0: frame, "other": torch.full_like(frame, torch.inf)})
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(model, "coarse", lambda *_: 1 / 0)  # after the module has made its step
            stream.step(frame)
        assert torch.equal(stream.step(frame, output="logits"), logits)


def test_weights_save_and_load(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
    frames = make_frames(5)
    ours, theirs = (streamed(StreamingSegmentor(m), frames) for m in (model, other))
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("output", ["classifier", "refined", "refine"])
@pytest.mark.parametrize("kind", MODULES)
def test_training_gives_every_parameter_a_finite_gradient(kind, output):
    model = make_model(kind, output).train()
    model.temporal.module.set_activation_checkpointing(True)
    model(*training_batch()).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def training_batch(frames=4):
    """Two clips and the labels of all their frames."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (2, frames, 3, *SIZE), generator=generator).float()
    return clips, torch.randint(0, NUM_CLASSES, (2, frames, *SIZE), generator=generator)


def test_smoothing_prototypes_and_compiling_go_with_every_module(model):
    frames, plain = make_frames(5), streamed(StreamingSegmentor(model), make_frames(5))
    smooth = streamed(StreamingSegmentor(model, smoothing=0.5), frames)
    of_first = smooth[0] - plain[0]  # logarithms of its own probabilities: the same for all classes
    torch.testing.assert_close(of_first, of_first[:1].expand_as(of_first), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(smooth[4].softmax(dim=0), plain[4].softmax(dim=0), atol=1e-3)
    compiled = copy.deepcopy(model)
    compile_segmentor(compiled, backend="eager")
    for ours, expected in zip(streamed(StreamingSegmentor(compiled), frames), plain):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", MODULES)
def test_prototypes_add_their_logits(kind):
    branch = PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4)
    model, frames = make_model(kind, prototype_branch=branch), make_frames(5)
    stream, prototypes = StreamingSegmentor(model), torch.randn(3, 32)
    for frame in frames:
        logits = stream.step(frame, output="logits", prototypes=prototypes)
    clip = {"image": [frames[i] for i in clip_at(model, 4)], "prototypes": prototypes}
    with torch.no_grad():
        assert torch.equal(logits, model([clip])[0]["sem_seg"])


@pytest.mark.parametrize("kind", MODULES)
def test_half_precision_is_near_and_what_is_wrong_falls_back_to_float32(kind, caplog, monkeypatch):
    model, frames = make_model(kind, "refine"), make_frames(5)
    exact = streamed(StreamingSegmentor(model), frames)
    half = streamed(StreamingSegmentor(model, autocast=torch.bfloat16), frames)
    for ours, expected in zip(half, exact):
        assert (ours - expected).abs().mean() < 0.05 * expected.abs().mean()

    def break_it(module, dtype):
        for child in module.modules():
            if isinstance(child, nn.Linear | nn.Conv2d):
                child.register_forward_hook(lambda _, args, out: -9 * out)

    monkeypatch.setattr(type(model.temporal.module), "compute_in", break_it)
    with caplog.at_level(logging.WARNING):
        fallen = streamed(
            StreamingSegmentor(model, autocast=torch.bfloat16, float32_parts=("backbone", "head")),
            frames,
        )
    assert "in float32 from here on" in caplog.text
    assert all(map(torch.equal, fallen, exact))


def test_image_only_frames_are_the_image_segmentors_and_leave_the_stream_alone(model):
    frames, alone = make_frames(5), StreamingSegmentor(model)
    expected = streamed(alone, frames)
    stream = StreamingSegmentor(model)
    image_model = CFFMSegmentor(**make_parts()).eval()
    for frame, logits in zip(frames, expected):
        both = stream.step_all({"image": frame, 0: frame}, output="logits", image_only=("image",))
        torch.testing.assert_close(both[0], logits, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            by_itself = image_model([{"image": frame}])[0]["sem_seg"]
        torch.testing.assert_close(both["image"], by_itself, rtol=1e-5, atol=1e-5)


def test_a_recurrent_module_takes_clips_of_any_length_but_one_in_a_batch():
    model = make_model("recurrent")
    for length in (1, 2, 6):
        assert model.train()(*training_batch(length)).loss.isfinite()
        assert model.eval()(torch.zeros(1, length, 3, *SIZE)).logits.isfinite().all()
    clips = [{"image": make_frames(n), "sem_seg": [torch.zeros(SIZE).long()] * n} for n in (2, 3)]
    with pytest.raises(ValueError, match=r"one length, got \[2, 3\]"):
        model.train()(clips)


def test_evaluation_streams_a_recurrent_module_from_the_first_frame_or_starts_every_clip_anew():
    model, frames = make_model("recurrent"), make_frames(4)
    stream, clips = (
        LabelMapPredictor(model, frame_offsets=OFFSETS, streaming=streaming)
        for streaming in (True, False)
    )
    record = {"video_id": "v", "height": SIZE[0], "width": SIZE[1]}
    expected = StreamingSegmentor(model)
    for index, frame in enumerate(frames):
        (given,) = stream([record | {"image": frame, "frame_index": index}])
        assert torch.equal(given["label_map"], expected.step(frame))
        clip = [frames[i] for i in inference_clip(index, OFFSETS)]
        (given,) = clips([record | {"image": clip}])
        anew = StreamingSegmentor(model)
        assert torch.equal(given["label_map"], [anew.step(f) for f in clip][-1])


class WithAuxiliary(WindowedModule):
    """Gives in training the mean of its references, and each of them, as auxiliary maps."""

    dim, num_references, num_auxiliary = 32, 3, 3

    def assemble(self, frame, slots=None):
        return FrameMap(frame.cells)

    def mine(self, target, references):
        past = [tokens.frame for tokens in references]
        refined = target.cells + sum(past) / 3
        return Refined(refined, tuple(past[: self.num_given])) if self.training else refined

    num_given = 3


def test_the_video_loss_is_the_mean_over_the_video_and_the_auxiliary_predictions():
    """Each is the head's loss of a classifier of its own; without dropout, worked step by step."""
    model = make_model(WithAuxiliary(), "refined", video_loss_weight=0.3)
    model.temporal.output.dropout.p = 0.0
    model.temporal.module.train()
    clips, labels = training_batch()
    output = model.temporal.output
    loss = model.losses([list(clip) for clip in clips], [list(maps) for maps in labels])
    frames = [model.encode(list(clips[:, place])) for place in range(4)]
    past = [frame.cells for frame in frames[:3]]
    maps = [frames[3].cells + sum(past) / 3, *past]
    expected = []
    for classifier, cells in zip([output.classifier, *output.auxiliary], maps, strict=True):
        logits = nn.functional.interpolate(
            classifier(cells), size=frames[3].embedding.shape[2:], mode="bilinear"
        )
        expected += model.sem_seg_head.losses(logits, labels[:, -1]).values()
    torch.testing.assert_close(loss["loss_video"], 0.3 * sum(expected) / 4, rtol=1e-5, atol=1e-6)


def test_auxiliary_maps_of_another_number_are_an_error():
    module = WithAuxiliary()
    module.num_given = 2
    with pytest.raises(ValueError, match="num_auxiliary 3, and gave 2"):
        make_model(module, "refined").train()(*training_batch())


def test_one_resize_brings_the_embedding_to_the_modules_grid():
    """40x56 pixels are 10x14 cells of the head, 5x7 at stride 8, and 8x8 as the module wants."""
    model = make_model("recurrent")
    encoded = model.encode(make_frames(1))
    assert encoded.embedding.shape[2:] == (10, 14)
    expected = nn.functional.interpolate(
        encoded.embedding, size=(8, 8), mode="bilinear", align_corners=False
    )
    assert torch.equal(encoded.cells, expected)


def test_a_module_gets_the_levels_and_the_image_that_it_names():
    model, frames = make_model("recurrent"), make_frames(2)
    batch, _ = model.normalise_and_pad(frames)
    features = model.encode(frames).features
    assert torch.equal(features.image, batch)
    (level,) = features.levels
    assert torch.equal(level, model.backbone(batch)["res3"])
    assert make_model("cffm").encode(frames).features.levels == ()


class SeesNowhere(Averaging):
    levels = ("res3", "res9")


class NoWidth(RecurrentModule):
    def step(self, frame, state):
        return frame.cells, state


class BatchLast(Averaging):
    def step(self, frame, state):
        return frame.cells, Memory(frame.cells.movedim(0, -1), frame.cells[:, 0, 0, 0])


@pytest.mark.parametrize(
    "module, message",
    [
        (
            SeesNowhere,
            "SeesNowhere looks at the backbone's maps res3, res9, and .* gives res2",
        ),
        (NoWidth, "NoWidth: a temporal module sets dim"),
        (nn.Identity, "Identity is no temporal module: expected a WindowedModule .* Recurrent"),
    ],
)
def test_what_is_no_temporal_module_of_this_segmentor_is_told_why(module, message):
    with pytest.raises(ValueError, match=message):
        make_model(module())


def test_a_state_whose_batch_is_not_first_is_an_error():
    stream = StreamingSegmentor(make_model(BatchLast()))
    with pytest.raises(ValueError, match=r"Memory: expected the batch of 1 as first dimension"):
        stream.step(make_frames(1)[0])
