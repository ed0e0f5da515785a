"""The Mamba mixer: a short convolution and a selective scan over sequences, with a gate.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, section 3.4.
Parameters carry the field's names, so that published weights load.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .selective_scan import selective_scan

EXPANSION = 2  # inner width over the sequences'
TAPS = 4  # of the convolution, the last of them the current token's
SMALLEST_STEP, LARGEST_STEP = 0.001, 0.1  # of the scan, when training starts
STEP_FLOOR = 1e-4


@dataclass(frozen=True)
class MixerState:
    """What a sequence's next token needs of those before it.

    Attributes:
        convolution: the last inputs of the convolution, (S, 3, D), the oldest first.
        scan: the state of the scan after the last token, (S, N, D).
    """

    convolution: Tensor
    scan: Tensor


def apply(linear: nn.Linear, tokens: Tensor) -> Tensor:
    """``linear`` in its weight's dtype, which need not be that of the tokens."""
    return linear(tokens.to(linear.weight.dtype)).to(tokens.dtype)


class MambaMixer(nn.Module):
    """Mixes the tokens of sequences, each with those before it alone.

    Args:
        dim: channels of the tokens, C. Inside there are D = 2 C.
        num_states: of the scan, for each channel, N.
    """

    def __init__(self, dim: int, num_states: int = 16):
        super().__init__()
        inner, rank = EXPANSION * dim, math.ceil(dim / 16)
        self.num_states = num_states
        self.rank = rank
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, TAPS, groups=inner)
        self.x_proj = nn.Linear(inner, rank + 2 * num_states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        states = torch.arange(1.0, num_states + 1)
        self.A_log = nn.Parameter(states.log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self._initialise_steps()

    def _initialise_steps(self) -> None:
        """Steps start log-uniform; the bias is what softplus makes these of."""
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        shortest, longest = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        steps = torch.empty_like(self.D).uniform_(shortest, longest).exp().clamp(min=STEP_FLOOR)
        with torch.no_grad():
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def start(self, sequences: int) -> MixerState:
        """The state before the first token of so many sequences: zeros."""
        weight = self.D
        return MixerState(
            weight.new_zeros(sequences, TAPS - 1, len(weight)),
            weight.new_zeros(sequences, self.num_states, len(weight)),
        )

    def forward(self, tokens: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """
        Args:
            tokens: (S, L, C), S sequences or their continuations.
            state: what came before; it is not written to.

        Returns:
            (S, L, C), and the state after the last token.
        """
        inputs, gate = apply(self.in_proj, tokens).chunk(2, dim=-1)
        inputs, convolution = self._convolve(inputs, state.convolution)
        inputs = F.silu(inputs)
        steps, B, C = apply(self.x_proj, inputs).split(
            (self.rank, self.num_states, self.num_states), dim=-1
        )
        delta = F.softplus(apply(self.dt_proj, steps))
        mixed, scan = selective_scan(inputs, delta, -self.A_log.exp(), B, C, state.scan)
        mixed = torch.addcmul(mixed, inputs, self.D) * F.silu(gate)
        return apply(self.out_proj, mixed), MixerState(convolution, scan)

    def _convolve(self, inputs: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Each channel with its own taps over the last tokens -> the same, and the last inputs."""
        length = inputs.shape[1]
        inputs = torch.cat([before.to(inputs.dtype), inputs], dim=1)
        taps = self.conv1d.weight[:, 0].unbind(1)
        result: Any = self.conv1d.bias
        for offset, tap in enumerate(taps):
            result = torch.addcmul(result, inputs[:, offset : offset + length], tap)
        return result, inputs[:, length:].contiguous()
