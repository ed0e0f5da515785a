"""The selective scan of state space models: a linear recurrence whose decay depends on the input.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, section 3.2.
Exact to rounding for any size of step: decays are only ever exponentials of what is not positive.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 16  # tokens between two states that training keeps, on a CPU
LARGEST_PART = 1 << 25  # values of a chunk's states that a gradient makes at a time


class _Sequences(NamedTuple):
    """What the scan is given of every token: u and delta (S, L, D), B and C (S, L, N)."""

    u: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor

    def in_chunks(self, length: int) -> list["_Sequences"]:
        """So many tokens each, the last maybe fewer."""
        return [_Sequences(*parts) for parts in zip(*(t.split(length, dim=1) for t in self))]

    def side_by_side(self, length: int) -> "_Sequences":
        return _Sequences(*(_fold(tensor, length) for tensor in self))


class _Gradients(NamedTuple):
    """Of a loss: by what the scan was given, A (N, D), and the first state (S, N, D)."""

    sequences: _Sequences
    A: Tensor
    state: Tensor


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
        given = (u, delta, B, C, A.t().contiguous(), state)
        values = tuple(tensor.to(dtype) for tensor in given)
        if at_once is None:  # an exported graph holds every call by itself
            at_once = u.device.type != "cpu" or torch.compiler.is_exporting()
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in values):
            return _SelectiveScan.apply(*values, at_once)
        y, last, _ = _scan(_Sequences(*values[:4]), values[4], values[5], at_once)
        return y, last


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
    def forward(
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        B: Tensor,
        C: Tensor,
        A: Tensor,
        state: Tensor,
        at_once: bool,
    ) -> tuple[Tensor, Tensor]:
        y, last, starts = _scan(_Sequences(u, delta, B, C), A, state, at_once, keep=True)
        ctx.save_for_backward(u, delta, B, C, A, starts)
        ctx.at_once = at_once
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, B, C, A, starts = ctx.saved_tensors
        backward = _backward_at_once if ctx.at_once else _backward
        with torch.autocast(u.device.type, enabled=False):
            grads = backward(_Sequences(u, delta, B, C), A, starts, grad_y, grad_last)
        return *grads.sequences, grads.A, grads.state, None


def _scan(
    sequences: _Sequences, A: Tensor, state: Tensor, at_once: bool, keep: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``selective_scan``, with A (N, D).

    Returns:
        y, the last state, and the states before each chunk (chunks, S, N, D): with ``at_once`` or
        ``keep``, else of the whole as one chunk.
    """
    S, L, _ = sequences.u.shape
    if at_once:
        folded = sequences.side_by_side(_length_at_once(L))
        starts = _chunk_starts(folded, A, state)
        y = torch.empty_like(folded.u)
        ends = _run(folded, A, starts.flatten(0, 1), y)
        return _unfold(y, S, L), ends[-S:], starts
    y, kept = torch.empty_like(sequences.u), []
    length = CHUNK if keep else L
    for chunk, part in zip(sequences.in_chunks(length), y.split(length, dim=1), strict=True):
        kept.append(state)
        state = _run(chunk, A, state, part)
    return y, state, torch.stack(kept)


def _length_at_once(tokens: int) -> int:
    """Side by side, as many chunks as tokens in one need the fewest steps."""
    return math.isqrt(tokens - 1) + 1


def _fold(tensor: Tensor, length: int) -> Tensor:
    """(S, L, X) -> its chunks side by side, (chunks * S, length, X), the last filled up by zeros.

    A token whose step is zero leaves the state as it is.
    """
    missing = -tensor.shape[1] % length
    chunks = F.pad(tensor, (0, 0, 0, missing)).unflatten(1, (-1, length))
    return chunks.transpose(0, 1).flatten(0, 1)


def _unfold(tensor: Tensor, S: int, L: int) -> Tensor:
    """The inverse of ``_fold``."""
    return tensor.unflatten(0, (-1, S)).transpose(0, 1).flatten(1, 2)[:, :L]


def _run(sequences: _Sequences, A: Tensor, state: Tensor, y: Tensor | None = None) -> Tensor:
    """One token after the other, all sequences at a time; writes y and returns the last state."""
    u, delta, B, C = sequences
    state, decay, step_input = state.clone(), torch.empty_like(state), delta * u
    for token in range(u.shape[1]):
        torch.mul(delta[:, token, None], A, out=decay)
        state.mul_(decay.exp_()).addcmul_(B[:, token, :, None], step_input[:, token, None])
        if y is not None:
            y[:, token] = torch.bmm(C[:, token, None], state)[:, 0]
    return state


def _chunk_starts(folded: _Sequences, A: Tensor, state: Tensor) -> Tensor:
    """The states before each of the chunks that lie side by side, (chunks, S, N, D).

    What a chunk adds by itself is computed for all at once; what came before decays over it.
    """
    added = _run(folded, A, state.new_zeros(len(folded.u), *state.shape[1:]))
    decays = (folded.delta.sum(1)[:, None] * A).exp_()
    starts = [state]
    for own, decay in zip(added.split(len(state))[:-1], decays.split(len(state))):
        starts.append(torch.addcmul(own, decay, starts[-1]))
    return torch.stack(starts)


def _backward(
    sequences: _Sequences, A: Tensor, starts: Tensor, grad_y: Tensor, grad_last: Tensor
) -> _Gradients:
    """The gradients, chunk by chunk from the last to the first.

    Args:
        sequences, A: as of ``_scan``.
        starts: the states before each chunk, (chunks, S, N, D).
        grad_y, grad_last: the gradients of y and of the last state.
    """
    parts, grad_A, grad_state = [], torch.zeros_like(A), grad_last
    chunks = zip(sequences.in_chunks(CHUNK), grad_y.split(CHUNK, dim=1), starts, strict=True)
    for chunk, grad_part, start in reversed(list(chunks)):
        grads = _chunk_gradients(chunk, A, start, grad_part, grad_state)
        parts.append(grads.sequences)
        grad_A += grads.A
        grad_state = grads.state
    joined = _Sequences(*(torch.cat(tensors, dim=1) for tensors in zip(*reversed(parts))))
    return _Gradients(joined, grad_A, grad_state)


def _backward_at_once(
    sequences: _Sequences, A: Tensor, starts: Tensor, grad_y: Tensor, grad_last: Tensor
) -> _Gradients:
    """As ``_backward``, with the chunks side by side: some at a time, so that less is made."""
    S, L, _ = sequences.u.shape
    length = _length_at_once(L)
    folded, grad_y = sequences.side_by_side(length), _fold(grad_y, length)
    grad_ends = _chunk_end_gradients(folded, A, grad_y, grad_last)
    rows = max(1, LARGEST_PART // (length * A.numel()))
    given = (*folded, starts.flatten(0, 1), grad_y, grad_ends)
    parts = [
        _chunk_gradients(_Sequences(*part[:4]), A, *part[4:])
        for part in zip(*(tensor.split(rows) for tensor in given))
    ]
    joined = (torch.cat(tensors) for tensors in zip(*(part.sequences for part in parts)))
    grad_A = torch.stack([part.A for part in parts]).sum(0)
    grad_states = torch.cat([part.state for part in parts])
    return _Gradients(_Sequences(*(_unfold(t, S, L) for t in joined)), grad_A, grad_states[:S])


def _chunk_end_gradients(
    folded: _Sequences, A: Tensor, grad_y: Tensor, grad_last: Tensor
) -> Tensor:
    """The gradients of the states after each of the chunks, (chunks * S, N, D).

    The recurrence of the states, from the end: y's gradients take the inputs' place.
    """
    _, delta, _, C = folded
    S = len(grad_last)
    added = grad_last.new_zeros(len(delta), *grad_last.shape[1:])
    for token in reversed(range(delta.shape[1])):
        decay = (delta[:, token, None] * A).exp_()
        added.addcmul_(C[:, token, :, None], grad_y[:, token, None]).mul_(decay)
    decays = (delta.sum(1)[:, None] * A).exp_()
    ends = [grad_last]
    for own, decay in zip(added.split(S)[:0:-1], decays.split(S)[:0:-1]):
        ends.append(torch.addcmul(own, decay, ends[-1]))
    return torch.cat(ends[::-1])


def _chunk_gradients(
    chunk: _Sequences, A: Tensor, start: Tensor, grad_y: Tensor, grad_end: Tensor
) -> _Gradients:
    """Of one chunk of every sequence, whose states are computed again."""
    u, delta, B, C = chunk
    step_input, tokens = delta * u, range(u.shape[1])
    decays = (delta[:, :, None] * A).exp_()  # (S, T, N, D), as are the following
    states, grads = torch.empty_like(decays), torch.empty_like(decays)
    before = torch.empty_like(decays)  # what is left of the state before each token
    state, grad = start, grad_end.clone()
    for token in tokens:
        torch.mul(state, decays[:, token], out=before[:, token])
        added = (B[:, token, :, None], step_input[:, token, None])
        state = torch.addcmul(before[:, token], *added, out=states[:, token])
    for token in reversed(tokens):
        grad.addcmul_(C[:, token, :, None], grad_y[:, token, None])
        grads[:, token] = grad
        grad.mul_(decays[:, token])
    grad_C = (states @ grad_y[..., None])[..., 0]
    grad_B = (grads @ step_input[..., None])[..., 0]
    grad_input = (B[:, :, None] @ grads)[:, :, 0]
    of_exponents = grads.mul_(before)  # gradients of delta * A
    grad_A = (of_exponents * delta[:, :, None]).sum((0, 1))
    grad_delta = (of_exponents * A).sum(2) + grad_input * u
    return _Gradients(_Sequences(grad_input * delta, grad_delta, grad_B, grad_C), grad_A, grad)
