"""What a device computes wrongly in half precision is found, named, and stays in float32."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import Backbone
from test_casting_once import logits_of, make_model
from torch import nn

from cffm_plugin.core.half_maps import (
    excess_over_rounding,
    maps_of,
    maps_that_are_off,
    train_what_is_off_in_float32,
)
from cffm_plugin.inference import StreamingSegmentor, half_precision_copy
from cffm_plugin.modeling import CFFMSegmentor

HALF = (torch.bfloat16, torch.float16)


def noisy(output):
    """Off by a fifth of its usual value, in half precision alone."""
    if output.dtype not in HALF:
        return output
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
    return output + (0.2 * noise * output.detach().float().std()).to(output)


class WrongConv(nn.Conv2d):
    def forward(self, x):
        return noisy(super().forward(x))


class WrongLinear(nn.Linear):
    def forward(self, x):
        return noisy(super().forward(x))


class Wrapper(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return noisy(self.inner(x))


class WrongGradient(torch.autograd.Function):
    """The same forward; of the operands that are in half precision, one has a wrong gradient."""

    @staticmethod
    def forward(ctx, x, weight, wrong):
        ctx.save_for_backward(x, weight)
        ctx.wrong = wrong
        return x @ weight.t()

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_x, of_weight = gradient @ weight, gradient.flatten(0, 1).t() @ x.flatten(0, 1)
        if ctx.wrong == "input":
            of_x = noisy(of_x)
        else:
            of_weight = noisy(of_weight)
        return of_x, of_weight, None


class LinearOfWrongGradient(nn.Linear):
    wrong = "input"

    def forward(self, x):
        if torch.is_autocast_enabled("cpu"):
            x, weight = x.bfloat16(), self.weight.bfloat16()
        else:
            weight = self.weight
        return WrongGradient.apply(x, weight, self.wrong) + self.bias.to(x.dtype)


def made_wrong(model, name):
    """The model with a map of another class in a place, which a class of ours need not be."""
    module = model.get_submodule(name)
    kind = WrongConv if isinstance(module, nn.Conv2d) else WrongLinear
    module.__class__ = type(f"Wrong{type(module).__name__}", (kind, type(module)), {})
    return model


WRONG = [
    ("segformer", "backbone.block1.0.attn.sr"),
    ("segformer", "backbone.block2.0.mlp.fc2"),
    ("segformer", "backbone.block3.0.mlp.dwconv.dwconv"),
    ("segformer", "temporal.module.blocks.0.mlp.fc1"),
    ("segformer", "temporal.module.blocks.0.mining.proj"),
    ("fpn", "sem_seg_head.res3.0"),
    ("fpn", "sem_seg_head.predictor"),
]


@pytest.mark.parametrize(("head", "name"), WRONG)
def test_a_wrong_map_is_named_once_and_stays_in_float32_in_a_stream(head, name, caplog):
    model = make_model(head)
    right = logits_of(model, autocast=torch.bfloat16)
    made_wrong(model, name)
    plain = logits_of(model)
    caplog.clear()
    half = logits_of(model, autocast=torch.bfloat16)
    assert [name in record.message for record in caplog.records].count(True) == 1
    kept = half_precision_copy(model, torch.bfloat16).get_submodule(name)
    assert torch.equal(kept.weight, model.get_submodule(name).weight)
    # As near to float32 as with a right one: it would be off by several times as much.
    error, before = (half - plain).norm(), (right - plain).norm()
    assert 0 < error < 1.5 * before + 0.01 * plain.norm()


def test_a_wrapper_of_a_right_map_is_named_where_it_is_what_is_wrong(caplog):
    model = make_model()
    attention = model.backbone.block2[0].attn
    attention.sr = Wrapper(attention.sr)
    half = half_precision_copy(model, torch.bfloat16)
    assert "backbone.block2.0.attn.sr" in caplog.text
    assert half.get_submodule("backbone.block2.0.attn.sr.inner").weight.dtype == torch.float32


def test_a_fault_of_one_shape_is_found_wherever_the_shape_occurs(monkeypatch):
    convolve = F.conv2d

    def wrong_for_kernels_like_their_stride(x, weight, bias=None, stride=1, *rest):
        output = convolve(x, weight, bias, stride, *rest)
        return noisy(output) if tuple(weight.shape[2:]) == tuple(stride) != (1, 1) else output

    model = make_model()
    before = maps_that_are_off(maps_of(model), torch.bfloat16, autocast=True)
    monkeypatch.setattr(F, "conv2d", wrong_for_kernels_like_their_stride)
    found = maps_that_are_off(maps_of(model), torch.bfloat16, autocast=True)
    assert set(found) - set(before) <= {f"backbone.block{i}.0.attn.sr" for i in (1, 2, 3)}
    assert {f"backbone.block{i}.0.attn.sr" for i in (1, 2, 3)} <= set(found)


MAPS = {
    "linear": lambda: nn.Linear(48, 20),
    "strided": lambda: nn.Conv2d(3, 16, 7, 4, 3),
    "patches": lambda: nn.Conv2d(16, 16, 4, 4),
    "depthwise": lambda: nn.Conv2d(24, 24, 3, padding=1, groups=24),
    "transposed": lambda: nn.ConvTranspose2d(8, 6, 2, 2),
    "dilated": lambda: nn.Conv2d(8, 8, 3, padding=12, dilation=12),
    "over time": lambda: nn.Conv3d(4, 4, 3, padding=1),
}
SCALES = {
    "as they start": lambda weight: weight,
    "zero": torch.zeros_like,
    "uneven": lambda w: w * 10.0 ** torch.linspace(-4, 3, len(w)).view(-1, *[1] * (w.dim() - 1)),
    "tiny": lambda weight: 1e-6 * weight,
    "huge": lambda weight: 1e4 * weight,
}


def computes_exactly(module, dtype):
    """The same map, in float32 whatever it is asked for, and rounded: right on every device."""
    forward = type(module).forward

    class Exact(type(module)):
        def forward(self, x):
            half = dtype if torch.is_autocast_enabled("cpu") else x.dtype
            with torch.autocast("cpu", enabled=False):
                return forward(self, x.float()).to(half)

    module.__class__ = Exact
    return module


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", MAPS)
def test_a_right_map_is_not_flagged_whatever_its_weights(kind, scale):
    torch.manual_seed(0)
    module = MAPS[kind]()
    with torch.no_grad():
        module.weight.copy_(SCALES[scale](module.weight))
    for dtype in HALF:
        exact = computes_exactly(copy.deepcopy(module), dtype)
        for backward in (False, True):
            excess = excess_over_rounding(exact, dtype, autocast=True, backward=backward)
            assert excess <= 1, (dtype, backward)


def test_weights_beyond_the_range_of_float16_stay_in_float32(caplog):
    model = make_model()
    with torch.no_grad():
        model.backbone.block1[0].mlp.fc1.weight[0, 0] = 7e4  # float16 ends at 65504
    half = half_precision_copy(model, torch.float16)
    assert half.backbone.block1[0].mlp.fc1.weight.isfinite().all()
    assert "backbone.block1.0.mlp.fc1 (inf times)" in caplog.text


def test_nothing_is_said_of_a_map_whose_weights_are_not_finite():
    broken = nn.Linear(8, 8)
    with torch.no_grad():
        broken.weight[0, 0] = float("nan")  # its predictions are an error of their own
    assert excess_over_rounding(broken, torch.bfloat16, autocast=True) <= 1


@pytest.mark.parametrize("wrong", ["input", "weight"])
def test_training_finds_what_is_wrong_in_the_backward_pass_alone(wrong):
    module = LinearOfWrongGradient(32, 16)
    module.wrong = wrong
    assert excess_over_rounding(module, torch.bfloat16, autocast=True) <= 1
    assert excess_over_rounding(module, torch.bfloat16, autocast=True, backward=True) > 1


@pytest.mark.parametrize("is_zero", [False, True])
def test_in_training_a_wrong_map_runs_in_float32_though_it_starts_at_zero(is_zero, caplog):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), WrongLinear(32, 16))
    if is_zero:
        nn.init.zeros_(model[2].weight)
    names = [name for name, _ in model.named_parameters()]
    off = train_what_is_off_in_float32(model, torch.bfloat16)
    assert "2" in off
    assert "in bfloat16" in caplog.text
    assert [name for name, _ in model.named_parameters()] == names
    x = torch.randn(4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        given, hidden = model(x), model[:2](x)
    assert given.dtype == torch.bfloat16
    expected = F.linear(hidden.float(), model[2].weight, model[2].bias)
    assert torch.equal(given, expected.bfloat16())
    assert model(x).dtype == torch.float32  # without autocast all is as it was


def test_what_training_left_in_float32_is_tried_anew_for_a_stream():
    model = made_wrong(make_model(), "backbone.block1.0.attn.sr")
    before = logits_of(model)
    train_what_is_off_in_float32(model, torch.bfloat16)
    assert torch.equal(logits_of(model), before)
    half = half_precision_copy(model, torch.bfloat16)
    assert half.backbone.block1[0].attn.sr.weight.dtype == torch.float32
    assert model.backbone.block1[0].attn.sr.forward.__self__ is model.backbone.block1[0].attn.sr


class UsesWeights(Backbone):
    """A backbone that uses a map's weights without calling the map."""

    def __init__(self):
        super().__init__()
        self.patches = WrongConv(3, 16, 4, 4)
        self.mix = WrongLinear(16, 16)
        self._out_features = ["res2"]
        self._out_feature_channels, self._out_feature_strides = {"res2": 16}, {"res2": 4}

    def forward(self, image):
        cells = F.conv2d(image, self.patches.weight, self.patches.bias, 4)
        return {"res2": self.mix(cells.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)}


class Pointwise(nn.Module):
    """A head of one map, in the contract."""

    num_classes, embedding_stride, embedding_channels = 4, 4, 16

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.5)
        self.predictor = nn.Conv2d(16, 4, 1)

    def embed(self, features):
        tokens = features["res2"].flatten(2).permute(2, 0, 1)
        attended = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return attended.permute(1, 2, 0).view_as(features["res2"]), None

    def classify(self, embedding, context):
        return self.predictor(embedding)


def foreign_model():
    torch.manual_seed(0)
    pixels = {"pixel_mean": [0.0] * 3, "pixel_std": [60.0] * 3}
    return CFFMSegmentor(backbone=UsesWeights(), sem_seg_head=Pointwise(), **pixels)


def test_a_backbone_that_can_not_have_parts_in_float32_is_in_it_altogether(caplog):
    half = half_precision_copy(foreign_model(), torch.bfloat16)
    assert {parameter.dtype for parameter in half.backbone.parameters()} == {torch.float32}
    assert "The backbone does not run with parts of it in float32" in caplog.text
    assert StreamingSegmentor(half).step(torch.rand(3, 32, 48)).shape == (32, 48)


def test_attention_is_tried_as_a_whole_and_without_dropout(monkeypatch):
    head = Pointwise()
    assert list(maps_of(head)) == ["predictor", "attention"]
    assert excess_over_rounding(head.attention, torch.bfloat16, autocast=True, backward=True) <= 1
    multiply = F.linear
    monkeypatch.setattr(F, "linear", lambda *operands: noisy(multiply(*operands)))
    assert "attention" in train_what_is_off_in_float32(head, torch.bfloat16)
    tokens = torch.randn(5, 1, 16)
    head.eval()
    with torch.autocast("cpu", torch.bfloat16):
        given = head.attention(tokens, tokens, tokens, need_weights=False)[0]
    expected = head.attention(tokens, tokens, tokens, need_weights=False)[0]
    assert torch.equal(given, expected.bfloat16())


def test_the_log_is_silent_where_all_is_right(caplog):
    caplog.set_level(logging.WARNING)
    exact = nn.Sequential(*(computes_exactly(make(), torch.bfloat16) for make in MAPS.values()))
    assert train_what_is_off_in_float32(exact, torch.bfloat16) == {}
    assert not caplog.records
