"""The Mamba mixer: the reference's numbers, and that sequences go on where they stopped."""

import golden_cases
import pytest
import torch

from cffm_plugin.core.mamba_mixer import MambaMixer


def mixer_of(case):
    mixer = MambaMixer(case["shape"][-1])
    official = golden_cases.state_dict(case["state_dict"])
    mixer.load_state_dict({name.removeprefix("mixer."): t for name, t in official.items()})
    return mixer


@pytest.fixture(params=["mixer", "mixer_short"])
def golden(request):
    name = f"tv3s/{request.param}"
    return golden_cases.load_json(name), golden_cases.load_arrays(name)


def test_outputs_and_gradients_agree_with_the_reference(golden):
    case, arrays = golden
    mixer = mixer_of(case)
    tokens = golden_cases.normal(case["input_seed"], case["shape"]).requires_grad_()
    out, _ = mixer(tokens, mixer.start(len(tokens)))
    torch.testing.assert_close(out.detach(), arrays["out"], rtol=0, atol=1e-5)
    (out * golden_cases.normal(case["cotangent_seed"], out.shape)).sum().backward()
    torch.testing.assert_close(tokens.grad, arrays["grad_input"], rtol=0, atol=3e-5)
    norms = {f"mixer.{name}": p.grad.norm().item() for name, p in mixer.named_parameters()}
    assert norms == pytest.approx(case["grad_norms"], rel=1e-3, abs=1e-6)


def test_states_agree_and_a_sequence_goes_on_from_them(golden):
    case, arrays = golden
    mixer, prefix = mixer_of(case), case["prefix"]
    tokens = golden_cases.normal(case["input_seed"], case["shape"])
    with torch.no_grad():
        first, state = mixer(tokens[:, :prefix], mixer.start(len(tokens)))
        second, _ = mixer(tokens[:, prefix:], state)
    # The reference keeps four inputs of the convolution, of which the oldest is never used.
    convolution = arrays["conv_state"][:, :, 1:].transpose(1, 2)
    torch.testing.assert_close(state.convolution, convolution, rtol=0, atol=1e-5)
    torch.testing.assert_close(state.scan, arrays["ssm_state"].transpose(1, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cat([first, second], 1), arrays["out"], rtol=0, atol=1e-5)


def test_no_token_sees_a_later_one():
    torch.manual_seed(0)
    mixer, tokens = MambaMixer(8), torch.randn(2, 12, 8)
    changed = tokens.clone()
    changed[:, 7:] += 1
    with torch.no_grad():
        out, other = (mixer(t, mixer.start(2))[0] for t in (tokens, changed))
    assert torch.equal(out[:, :7], other[:, :7])
    assert not torch.equal(out[:, 7], other[:, 7])


def test_it_starts_with_the_steps_and_decays_of_mamba():
    """softplus of the bias is the step, log-uniform in 0.001 .. 0.1; decays are -1 .. -N."""
    mixer = MambaMixer(64, num_states=4)
    steps = torch.nn.functional.softplus(mixer.dt_proj.bias)
    assert 0.0009 < steps.min() < 0.003 and 0.03 < steps.max() < 0.11
    torch.testing.assert_close(-mixer.A_log.exp(), -torch.arange(1.0, 5).expand(128, 4))
    assert mixer.dt_proj.weight.abs().max() <= 0.5  # the rank is 64 / 16
    assert torch.equal(mixer.D, torch.ones(128))
