"""The selective scan of state space models: a linear recurrence whose decay depends on the input.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, section 3.2.
Exact to rounding for any size of step: decays are only ever exponentials of what is not positive.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 16  # tokens between two states that training keeps, on a CPU
LARGEST_PART = 1 << 25  # values of a chunk's states that a gradient makes at a time


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor | None = None,
    *,
    at_once: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Run sequences through a diagonal state space model, per channel c and state n:

        h_l[n, c] = exp(delta_l[c] A[c, n]) h_{l-1}[n, c] + delta_l[c] B_l[n] u_l[c]
        y_l[c]    = sum_n C_l[n] h_l[n, c]

    Training keeps the inputs and a state every few tokens, and computes the others again.

    Args:
        u: inputs (S, L, D) of S sequences.
        delta: steps (S, L, D), not negative.
        A: (D, N), not positive.
        B, C: (S, L, N).
        state: before the first token, (S, N, D); None for zeros. It is not written to.
        at_once: whether chunks of a sequence go side by side, with twice the arithmetic in a
            fraction of the calls, which is the faster way on a GPU; None: as the device says.

    Returns:
        y (S, L, D) and the state after the last token (S, N, D), in float32 (or float64, if u is).

    Raises:
        ValueError: shapes that do not fit together.
    """
    _check(u, delta, A, B, C, state)
    with torch.autocast(u.device.type, enabled=False):
        dtype = torch.promote_types(u.dtype, torch.float32)
        if state is None:
            state = u.new_zeros(len(u), A.shape[1], u.shape[2])
        if not u.shape[1]:
            return u.to(dtype), state.to(dtype).clone()
        values = [tensor.to(dtype) for tensor in (u, delta, A.t().contiguous(), B, C, state)]
        at_once = u.device.type != "cpu" if at_once is None else at_once
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in values):
            return _SelectiveScan.apply(*values, at_once)
        return _scan(*values, at_once)[:2]


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None) -> None:
    if u.dim() != 3 or A.dim() != 2 or len(A) != u.shape[2]:
        raise ValueError(
            f"expected u (S, L, D) and A (D, N), got {tuple(u.shape)} and {tuple(A.shape)}"
        )
    (S, L, D), N = u.shape, A.shape[1]
    expected = {"delta": (S, L, D), "B": (S, L, N), "C": (S, L, N), "state": (S, N, D)}
    for name, tensor in {"delta": delta, "B": B, "C": C, "state": state}.items():
        if tensor is not None and tensor.shape != expected[name]:
            raise ValueError(f"{name}: expected {expected[name]}, got {tuple(tensor.shape)}")


class _SelectiveScan(torch.autograd.Function):
    """``_scan``, which keeps its inputs and the state before every chunk; A is (N, D) here."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        *values, at_once = inputs
        y, last, starts = _scan(*values, at_once, keep=True)
        ctx.save_for_backward(*values[:5], starts)
        ctx.at_once = at_once
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        *values, starts = ctx.saved_tensors
        with torch.autocast(grad_y.device.type, enabled=False):
            return *_scan_gradients(*values, starts, grad_y, grad_last, ctx.at_once), None


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    at_once: bool,
    keep: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``selective_scan``, with A (N, D).

    Returns:
        y, the last state, and the states before each chunk (chunks, S, N, D): with ``at_once`` or
        ``keep``, else of the whole as one chunk.
    """
    S, L, _ = u.shape
    y = torch.empty_like(u)
    length = _chunk_length(L, at_once) if at_once or keep else L
    if at_once:
        folded = [_fold(tensor, length) for tensor in (delta, u, B, C)]
        starts = _chunk_starts(*folded[:3], A, state)
        y = torch.empty_like(folded[0])
        ends = _run(*folded, A, starts.flatten(0, 1), y)
        return _unfold(y, S, L), ends.unflatten(0, (-1, S))[-1], starts
    kept = []
    for chunk in zip(*(tensor.split(length, dim=1) for tensor in (delta, u, B, C, y))):
        kept.append(state)
        *parts, y_part = chunk
        state = _run(*parts, A, state, y_part)
    return y, state, torch.stack(kept)


def _chunk_length(length: int, at_once: bool) -> int:
    """Side by side, as many chunks as tokens in one need the fewest steps."""
    return math.isqrt(length - 1) + 1 if at_once else CHUNK


def _fold(tensor: Tensor, length: int) -> Tensor:
    """(S, L, X) -> its chunks side by side, (chunks * S, length, X), the last filled up by zeros.

    A token whose step is zero leaves the state as it is.
    """
    missing = -tensor.shape[1] % length
    return (
        F.pad(tensor, (0, 0, 0, missing)).unflatten(1, (-1, length)).transpose(0, 1).flatten(0, 1)
    )


def _unfold(tensor: Tensor, S: int, L: int) -> Tensor:
    """The inverse of ``_fold``."""
    return tensor.unflatten(0, (-1, S)).transpose(0, 1).flatten(1, 2)[:, :L]


def _run(
    delta: Tensor,
    u: Tensor,
    B: Tensor,
    C: Tensor | None,
    A: Tensor,
    state: Tensor,
    y: Tensor | None,
) -> Tensor:
    """One token after the other, all sequences at a time; writes y and returns the last state."""
    state, decay, step_input = state.clone(), torch.empty_like(state), delta * u
    for token in range(u.shape[1]):
        torch.mul(delta[:, token, None], A, out=decay)
        state.mul_(decay.exp_()).addcmul_(B[:, token, :, None], step_input[:, token, None])
        if C is not None and y is not None:
            y[:, token] = torch.bmm(C[:, token, None], state)[:, 0]
    return state


def _chunk_starts(delta: Tensor, u: Tensor, B: Tensor, A: Tensor, state: Tensor) -> Tensor:
    """The states before each of the chunks that lie side by side, (chunks, S, N, D).

    What a chunk adds by itself is computed for all at once; what came before decays over it.
    """
    S = len(state)
    added = _run(delta, u, B, None, A, state.new_zeros(len(u), *state.shape[1:]), None)
    decays = (delta.sum(1)[:, None] * A).exp_()
    starts = [state]
    for chunk in range(len(u) // S - 1):
        rows = slice(chunk * S, (chunk + 1) * S)
        starts.append(torch.addcmul(added[rows], decays[rows], starts[-1]))
    return torch.stack(starts)


def _scan_gradients(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    starts: Tensor,
    grad_y: Tensor,
    grad_last: Tensor,
    at_once: bool,
) -> tuple[Tensor, ...]:
    """Gradients of u, delta, A, B, C and the first state, from those of y and the last state."""
    S, L, _ = u.shape
    length = _chunk_length(L, at_once)
    tensors = (delta, u, B, C, grad_y)
    grad_A = torch.zeros_like(A)
    if at_once:
        folded = [_fold(tensor, length) for tensor in tensors]
        grad_ends = _chunk_end_gradients(folded[0], folded[3], folded[4], A, grad_last)
        *grads, grad_starts = _gradients(*folded, A, starts.flatten(0, 1), grad_ends, grad_A)
        grad_delta, grad_u, grad_B, grad_C = (_unfold(grad, S, L) for grad in grads)
        return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_starts[:S]
    parts, grad_state = [], grad_last
    chunks = list(zip(*(tensor.split(length, dim=1) for tensor in tensors)))
    for chunk, start in zip(reversed(chunks), starts.flip(0)):
        *grads, grad_state = _gradients(*chunk, A, start, grad_state, grad_A)
        parts.append(grads)
    grad_delta, grad_u, grad_B, grad_C = (torch.cat(part[::-1], 1) for part in zip(*parts))
    return grad_u, grad_delta, grad_A, grad_B, grad_C, grad_state


def _chunk_end_gradients(
    delta: Tensor, C: Tensor, grad_y: Tensor, A: Tensor, grad_last: Tensor
) -> Tensor:
    """The gradients of the states after each of the chunks, (chunks * S, N, D).

    The same recurrence as forwards, from the end: y's gradients take the inputs' place.
    """
    S = len(grad_last)
    added, decay = grad_last.new_zeros(len(delta), *grad_last.shape[1:]), None
    for token in reversed(range(delta.shape[1])):
        decay = (delta[:, token, None] * A).exp_()
        added.addcmul_(C[:, token, :, None], grad_y[:, token, None]).mul_(decay)
    decays = (delta.sum(1)[:, None] * A).exp_()
    ends = [grad_last]
    for chunk in reversed(range(1, len(delta) // S)):
        rows = slice(chunk * S, (chunk + 1) * S)
        ends.append(torch.addcmul(added[rows], decays[rows], ends[-1]))
    return torch.cat(ends[::-1])


def _gradients(
    delta: Tensor,
    u: Tensor,
    B: Tensor,
    C: Tensor,
    grad_y: Tensor,
    A: Tensor,
    starts: Tensor,
    grad_ends: Tensor,
    grad_A: Tensor,
) -> tuple[Tensor, ...]:
    """Of one chunk of every sequence: gradients of delta, u, B, C and the state before it.

    Adds to ``grad_A``. A few sequences at a time, so that what is made stays small.
    """
    sequences = max(1, LARGEST_PART // max(1, delta.shape[1] * A.numel()))
    parts = [
        _part_gradients(*part, A, grad_A)
        for part in zip(*(t.split(sequences) for t in (delta, u, B, C, grad_y, starts, grad_ends)))
    ]
    return tuple(torch.cat(tensors) for tensors in zip(*parts))


def _part_gradients(
    delta: Tensor,
    u: Tensor,
    B: Tensor,
    C: Tensor,
    grad_y: Tensor,
    start: Tensor,
    grad_end: Tensor,
    A: Tensor,
    grad_A: Tensor,
) -> tuple[Tensor, ...]:
    step_input, tokens = delta * u, range(u.shape[1])
    decays = (delta[:, :, None] * A).exp_()  # (S, T, N, D), as are the following
    states, grads = torch.empty_like(decays), torch.empty_like(decays)
    before = torch.empty_like(decays)  # what is left of the state before each token
    state, grad = start, grad_end.clone()
    for token in tokens:
        torch.mul(state, decays[:, token], out=before[:, token])
        state = torch.addcmul(
            before[:, token],
            B[:, token, :, None],
            step_input[:, token, None],
            out=states[:, token],
        )
    for token in reversed(tokens):
        grad.addcmul_(C[:, token, :, None], grad_y[:, token, None])
        grads[:, token] = grad
        grad.mul_(decays[:, token])
    grad_C = (states @ grad_y[..., None])[..., 0]
    grad_B = (grads @ step_input[..., None])[..., 0]
    grad_input = (B[:, :, None] @ grads)[:, :, 0]
    of_exponents = grads.mul_(before)  # gradients of delta * A
    grad_A += (of_exponents * delta[:, :, None]).sum((0, 1))
    grad_delta = (of_exponents * A).sum(2) + grad_input * u
    return grad_delta, grad_input * delta, grad_B, grad_C, grad
