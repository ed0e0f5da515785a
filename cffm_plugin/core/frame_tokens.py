"""What CFFM keeps of a past frame."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameTokens:
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
        return self._map(lambda slot, tokens: tokens if slot in slots else None)

    def unbind(self) -> list["FrameTokens"]:
        """The frames of a batch, each a batch of one."""
        size = next(t.shape[0] for block in self.keys_values for t in block if t is not None)
        return [self._map(lambda _, tokens, i=i: tokens[i : i + 1]) for i in range(size)]

    @staticmethod
    def cat(frames: Sequence["FrameTokens"]) -> "FrameTokens":
        """One batch of frames of one size, all with tokens for the same slots."""
        if len(frames) == 1:
            return frames[0]
        return FrameTokens(
            frames[0].height,
            frames[0].width,
            tuple(
                tuple(None if tokens[0] is None else torch.cat(tokens) for tokens in zip(*blocks))
                for blocks in zip(*(frame.keys_values for frame in frames))
            ),
        )

    def _map(self, change: Callable[..., Tensor | None]) -> "FrameTokens":
        """The same of what ``change(slot, tokens)`` gives for all tokens that there are."""
        return FrameTokens(
            self.height,
            self.width,
            tuple(
                tuple(None if t is None else change(slot, t) for slot, t in enumerate(block))
                for block in self.keys_values
            ),
        )
