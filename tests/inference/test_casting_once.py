"""Half precision: weights cast once, nearly the same labels, and the model itself left alone."""

import pytest
import torch
import torch._dynamo.testing
from detectron2.modeling import build_model
from huggingface_models import save_model
from tiny_models import NUM_CLASSES, make_parts

from cffm_plugin import CFFM
from cffm_plugin.config import load_config
from cffm_plugin.core import CFFMRecall, attend
from cffm_plugin.inference import StreamingSegmentor, half_precision_copy
from cffm_plugin.modeling import CFFMSegmentor, TemporalHead


def make_model(head="segformer", module=CFFM):
    """With weights as large as trained ones', so that the past and every part matter."""
    torch.manual_seed(0)
    temporal = TemporalHead(
        module(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier"
    )
    model = CFFMSegmentor(**make_parts(head), temporal=temporal).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model


def make_video(count=6, size=(64, 96)):
    generator = torch.Generator().manual_seed(1)
    ramp = torch.linspace(0, 200, size[1]).expand(3, *size)
    return [ramp + 50 * torch.rand(3, *size, generator=generator) for _ in range(count)]


def logits_of(model, **options):
    offsets = (-3, -2, -1) if model.clip_length > 1 else ()
    stream = StreamingSegmentor(model, frame_offsets=offsets, **options)
    return torch.stack([stream.step(frame, output="logits") for frame in make_video()])


@pytest.mark.parametrize("module", [CFFM, CFFMRecall])
@pytest.mark.parametrize("head", ["segformer", "fpn"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_a_stream_in_half_precision_gives_nearly_the_same_logits(head, module, dtype, bound):
    model = make_model(head, module)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain, half = logits_of(model), logits_of(model, autocast=dtype)
    assert half.dtype == torch.float32
    assert 0 < (half - plain).norm() / plain.norm() < bound
    after = model.state_dict()  # training goes on in float32
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_large_maps_are_cast_once_and_what_is_summed_up_is_not(caplog):
    half = half_precision_copy(make_model(), torch.bfloat16)
    dtypes = {name: value.dtype for name, value in half.named_parameters()}
    cast = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    for name in ("backbone.block1.0.mlp.fc1", "temporal.module.blocks.0.mining.qkv"):
        assert f"{name}.weight" in cast or name in caplog.text  # what this device computes wrongly
    assert not any("norm1" in name or "predictor" in name for name in cast)


@pytest.mark.parametrize("part", ["backbone", "temporal"])
def test_a_part_can_stay_in_float32(part):
    half = half_precision_copy(make_model(), torch.bfloat16, float32_parts=(part,))
    of_part = {p.dtype for n, p in half.named_parameters() if n.startswith(part)}
    assert of_part == {torch.float32}
    assert torch.bfloat16 in {parameter.dtype for parameter in half.parameters()}


def test_an_unknown_part_is_an_error_that_names_the_key():
    with pytest.raises(ValueError, match=r"TEST.FLOAT32_PARTS.*backbone.*neck"):
        half_precision_copy(make_model(), torch.bfloat16, float32_parts=("neck",))


@pytest.mark.parametrize("kind", ["segformer", "upernet", "mask2former"])
def test_segmentors_of_others_run_in_half_precision(kind, tmp_path):
    save_model(kind, tmp_path)
    cfg = load_config("projects/HuggingFace/configs/cffm_segformer_b1_ade_vspw.yaml")
    cfg.MODEL.HF.NAME, cfg.MODEL.HF.NEW_CLASSIFIER = str(tmp_path), False
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 6
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    plain = StreamingSegmentor(build_model(cfg), frame_offsets=(-3, -2, -1))
    half = StreamingSegmentor(plain.model, frame_offsets=(-3, -2, -1), autocast=torch.bfloat16)
    equal = [plain.step(frame) == half.step(frame) for frame in make_video()]
    assert torch.stack(equal).float().mean() > 0.9


@pytest.mark.parametrize("queries", [49, 5000])
@pytest.mark.parametrize("with_bias", [False, True])
def test_attention_in_steps_is_attention(queries, with_bias):
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, n, 8) for n in (queries, 300, 300))
    bias = torch.randn(1, 2, queries, 300) if with_bias else None
    expected = attend(query, key, value, bias)
    half = [None if x is None else x.bfloat16() for x in (query, key, value, bias)]
    with torch.no_grad():
        assert (attend(*half).float() - expected).abs().max() < 0.05 * expected.abs().max()


class NegatedInBfloat16(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) * (-1 if x.dtype == torch.bfloat16 else 1)


@pytest.mark.own_process
def test_a_compiled_stream_gives_the_same_logits():
    def make():
        model = make_model(module=CFFMRecall)  # of whose maps some stay in float32
        model.temporal.module.cffm.blocks[0].mining.qkv.__class__ = NegatedInBfloat16
        model.backbone.block2[0].mlp.fc1.__class__ = NegatedInBfloat16
        return model

    for dtype in (None, torch.bfloat16):
        plain = logits_of(make(), autocast=dtype)
        options = {"compile_options": {"backend": "eager"}, "autocast": dtype}
        compiled = logits_of(make(), compiled=True, **options)
        assert (compiled - plain).abs().max() < 1e-3 * plain.abs().max()


@pytest.mark.own_process
def test_many_sizes_of_frames_are_compiled_a_bounded_number_of_times():
    counter = torch._dynamo.testing.CompileCounterWithBackend("eager")
    model = make_model()
    with torch._dynamo.config.patch(recompile_limit=2):
        options = {"compiled": True, "compile_options": {"backend": counter}}
        stream = StreamingSegmentor(model, frame_offsets=(-3, -2, -1), **options)
        counts = []
        for width in range(64, 128, 8):
            for frame in make_video(2, (64, width)):
                assert stream.step(frame).shape == (64, width)
            counts.append(counter.frame_count)
    assert counts[-1] == counts[-2] == counts[-3]
