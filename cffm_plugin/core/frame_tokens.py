"""What CFFM keeps of a past frame."""

from collections.abc import Container
from dataclasses import dataclass, replace

from torch import Tensor

from .temporal_module import Tokens


@dataclass(frozen=True)
class FrameTokens(Tokens):
    """All that later target frames need of a past frame.

    Attributes:
        height, width: of the frame's feature map, in cells.
        keys_values: per block and per reference slot, oldest slot first: (B, N, 2C) keys and
            values of the frame's tokens, or None for a slot that was not asked for.
    """

    height: int
    width: int
    keys_values: tuple[tuple[Tensor | None, ...], ...]

    def only(self, slots: Container[int]) -> "FrameTokens":
        """Without the tokens of the slots that are not among these."""
        kept = (
            tuple(tokens if slot in slots else None for slot, tokens in enumerate(block))
            for block in self.keys_values
        )
        return replace(self, keys_values=tuple(kept))
