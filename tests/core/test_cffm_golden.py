"""The temporal module against the official implementation: outputs and every gradient."""

import golden_cases
import pytest
import torch

from cffm_plugin import CFFM
from cffm_plugin.checkpoint import convert

CASES = ["temporal_layer", "temporal_layer_wide", "temporal_layer_aligned"]
PREFIX = "temporal.module."


def convert_names(state_dict):
    converted = convert({f"decode_head.{name}": t for name, t in state_dict.items()})
    return {name.removeprefix(PREFIX): t for name, t in converted.weights.items()}


@pytest.fixture(scope="module", params=CASES)
def run(request):
    """A golden case, and our module after forward and backward on it."""
    case = golden_cases.load_json(request.param)
    arrays = golden_cases.load_arrays(request.param)
    module = CFFM(case["dim"], case["depth"])
    module.load_state_dict(convert_names(golden_cases.state_dict(case["state_dict"])))
    shape = (case["batch"], case["frames"], case["dim"], case["height"], case["width"])
    clip = golden_cases.normal(case["input_seed"], shape).requires_grad_()
    out = module(clip)
    (out * golden_cases.normal(case["cotangent_seed"], out.shape)).sum().backward()
    return case, arrays, module, clip, out


def test_refined_target_agrees(run):
    _, arrays, _, _, out = run
    torch.testing.assert_close(out.detach(), arrays["out"], rtol=0, atol=1e-5)


def test_gradient_of_the_clip_agrees(run):
    _, arrays, _, clip, _ = run
    expected = arrays["grad_input"]
    torch.testing.assert_close(clip.grad, expected, rtol=1e-3, atol=1e-5)


def test_gradient_norm_of_every_parameter_agrees(run):
    case, _, module, _, _ = run
    official = golden_cases.official_names("b2")  # as many blocks or more
    ours = {
        official[PREFIX + name].removeprefix("decode_head."): parameter.grad.norm().item()
        for name, parameter in module.named_parameters()
    }
    assert ours == pytest.approx(case["grad_norm"], rel=1e-3, abs=1e-6)
