"""The selective scan: the reference's numbers, and what holds for every recurrence."""

import golden_cases
import pytest
import torch
import torch.nn.functional as F

from cffm_plugin.core import selective_scan as selective_scan_module
from cffm_plugin.core.selective_scan import CHUNK, selective_scan

AT_ONCE = pytest.mark.parametrize("at_once", [False, True])


def arguments(S, L, D, N, dtype=torch.float32):
    """u, delta, A, B, C and a state, random; deltas up to 1."""
    random = torch.Generator().manual_seed(L)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=dtype)

    delta = torch.rand(S, L, D, generator=random, dtype=dtype)
    return [draw(S, L, D), delta, -draw(D, N).exp(), draw(S, L, N), draw(S, L, N), draw(S, N, D)]


def token_by_token(u, delta, A, B, C, state):
    """The recurrence as it is written, for one token after the other."""
    outputs = []
    for token in range(u.shape[1]):
        step = delta[:, token, None]  # (S, 1, D)
        state = (step * A.t()).exp() * state
        state = state + step * u[:, token, None] * B[:, token, :, None]
        outputs.append((C[:, token, :, None] * state).sum(1))
    return torch.stack(outputs, 1), state


class Golden:
    """A golden case: the inputs by name, and the reference's whole layer around the scan."""

    def __init__(self, name):
        self.case = golden_cases.load_json(f"tv3s/{name}")
        self.arrays = golden_cases.load_arrays(f"tv3s/{name}")
        B, D, L, N = (self.case[key] for key in ("B", "D", "L", "N"))
        shapes = {"u": (B, D, L), "delta": (B, D, L), "A": (D, N), "B": (B, N, L), "C": (B, N, L)}
        shapes |= {"D": (D,), "z": (B, D, L), "delta_bias": (D,), "state": (B, D, N)}
        tensors = {
            key: golden_cases.normal(self.case["seed"] + i, shape)
            for i, (key, shape) in enumerate(shapes.items())
        }
        tensors["A"] = -tensors["A"].exp()
        tensors["delta_bias"] -= 3
        self.tensors = {key: tensor.requires_grad_() for key, tensor in tensors.items()}

    def run(self, at_once, state=None):
        t = self.tensors
        u, delta, B, C, z = (t[key].transpose(1, 2) for key in ("u", "delta", "B", "C", "z"))
        delta = F.softplus(delta + t["delta_bias"])
        y, last = selective_scan(u, delta, t["A"], B, C, state, at_once=at_once)
        return ((y + t["D"] * u) * F.silu(z)).transpose(1, 2), last.transpose(1, 2)


@pytest.mark.parametrize("name", ["scan", "scan_16_states"])
@AT_ONCE
def test_outputs_states_and_gradients_agree_with_the_reference(name, at_once):
    golden = Golden(name)
    out, last = golden.run(at_once)
    out_from, last_from = golden.run(at_once, golden.tensors["state"].transpose(1, 2))
    results = {"out": out, "last_state": last}
    results |= {"out_from_state": out_from, "last_state_from_state": last_from}
    for key, result in results.items():
        torch.testing.assert_close(result.detach(), golden.arrays[key], rtol=0, atol=1e-5)
    cotangent = golden_cases.normal(golden.case["cotangent_seed"], out.shape)
    (out * cotangent).sum().backward()
    for key in ("u", "A"):
        grad = golden.tensors[key].grad
        torch.testing.assert_close(grad, golden.arrays[f"grad_{key}"], rtol=0, atol=3e-5)
    norms = {key: golden.tensors[key].grad.norm().item() for key in golden.case["grad_norms"]}
    assert norms == pytest.approx(golden.case["grad_norms"], rel=1e-3, abs=1e-6)


@AT_ONCE
@pytest.mark.parametrize("length", [1, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_it_is_the_recurrence_at_every_length_with_every_gradient(length, at_once):
    ours = [t.requires_grad_() for t in arguments(2, length, 5, 3, torch.float64)]
    plain = [t.detach().clone().requires_grad_() for t in ours]
    results, expected = selective_scan(*ours, at_once=at_once), token_by_token(*plain)
    for result, value in zip(results, expected):
        torch.testing.assert_close(result, value)
    for y, last in (results, expected):
        (y.sin().sum() + last.cos().sum()).backward()
    for tensor, other in zip(ours, plain):
        torch.testing.assert_close(tensor.grad, other.grad)


def test_a_gradient_in_parts_is_the_whole(monkeypatch):
    """Chunks that lie side by side are independent of one another: any number at a time."""
    gradients = []
    for largest in (selective_scan_module.LARGEST_PART, 1):
        monkeypatch.setattr(selective_scan_module, "LARGEST_PART", largest)
        inputs = [t.requires_grad_() for t in arguments(3, 20, 4, 2, torch.float64)]
        y, last = selective_scan(*inputs, at_once=True)
        (y.sin().sum() + last.cos().sum()).backward()
        gradients.append([t.grad for t in inputs])
    for whole, parts in zip(*gradients):
        torch.testing.assert_close(whole, parts)


@AT_ONCE
def test_gradients_are_those_of_finite_differences(at_once):
    inputs = [t.requires_grad_() for t in arguments(2, CHUNK + 2, 2, 2, torch.float64)]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a, at_once=at_once), inputs)


@AT_ONCE
@pytest.mark.parametrize("first", [0, 1, CHUNK, CHUNK + 3, 40])
def test_a_sequence_cut_anywhere_is_the_whole(first, at_once):
    u, delta, A, B, C, state = arguments(3, 40, 4, 2)
    y, last = selective_scan(u, delta, A, B, C, state, at_once=at_once)
    parts = []
    for part in (slice(0, first), slice(first, 40)):
        result, state = selective_scan(
            u[:, part], delta[:, part], A, B[:, part], C[:, part], state, at_once=at_once
        )
        parts.append(result)
    torch.testing.assert_close(torch.cat(parts, 1), y, rtol=0, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


@AT_ONCE
@pytest.mark.parametrize("scale", [0.0, 1e3, 1e30])
def test_steps_of_any_size_give_finite_outputs_and_gradients(scale, at_once):
    """A step of 1e3 times -exp(z) forgets all; one of 0 nothing."""
    u, delta, A, B, C, state = arguments(1, 2 * CHUNK, 3, 2)
    u = u / max(1.0, scale)  # what a step adds is of order 1
    inputs = [t.requires_grad_() for t in (u, delta * scale, A, B, C, state)]
    y, last = selective_scan(*inputs, at_once=at_once)
    (y.sum() + last.sum()).backward()
    assert y.isfinite().all() and last.isfinite().all()
    assert all(t.grad.isfinite().all() for t in inputs)


def test_a_state_is_not_written_to_and_none_is_zeros():
    u, delta, A, B, C, state = arguments(2, 9, 3, 2)
    before = state.clone()
    selective_scan(u, delta, A, B, C, state)
    assert torch.equal(state, before)
    zeros = torch.zeros_like(state)
    for result, expected in zip(
        selective_scan(u, delta, A, B, C), selective_scan(u, delta, A, B, C, zeros)
    ):
        assert torch.equal(result, expected)


def test_training_gives_the_bits_of_inference():
    """On a CPU: what is kept for the gradient changes nothing."""
    inputs = arguments(2, 2 * CHUNK + 1, 3, 2)
    expected = selective_scan(*inputs)
    for result, value in zip(selective_scan(*[t.requires_grad_() for t in inputs]), expected):
        assert torch.equal(result, value)


def test_training_keeps_one_state_in_so_many_tokens():
    S, L, D, N = 1, 4 * CHUNK, 8, 16
    inputs = [t.requires_grad_() for t in arguments(S, L, D, N)]
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t
    ):
        selective_scan(*inputs)
    values = sum(t.numel() for t in kept.values())
    inputs_and_states = 2 * S * L * D + D * N + 2 * S * L * N + (L // CHUNK) * S * N * D
    assert values <= inputs_and_states + D * N  # A in both orders
    assert values < S * L * D * N


def test_half_precision_inputs_are_scanned_in_float32():
    inputs = arguments(1, 8, 3, 2)
    halves = [t.to(torch.bfloat16) for t in inputs]
    y, last = selective_scan(*halves)
    assert y.dtype == last.dtype == torch.float32
    expected, _ = selective_scan(*[t.float() for t in halves])
    assert torch.equal(y, expected)


@pytest.mark.parametrize("name", ["delta", "B", "C", "state"])
def test_a_shape_that_does_not_fit_is_an_error_that_names_it(name):
    given = dict(zip(("u", "delta", "A", "B", "C", "state"), arguments(2, 5, 3, 2)))
    given[name] = given[name][:1]
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        selective_scan(**given)


def test_states_that_are_no_matrix_are_an_error():
    u, delta, A, B, C, state = arguments(2, 5, 3, 2)
    with pytest.raises(ValueError, match=r"u \(S, L, D\) and A \(D, N\)"):
        selective_scan(u, delta, A.t(), B, C, state)
