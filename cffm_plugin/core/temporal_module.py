"""The contract of temporal modules: what refines the embedding of a frame by earlier ones."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

AnyTokens = TypeVar("AnyTokens", bound="Tokens")


class Tokens(Protocol):
    """What a temporal module keeps of past frames: a dataclass of tensors, the batch first."""

    def only(self: AnyTokens, slots: Container[int]) -> AnyTokens:
        """Without what is needed in other slots than these: so that a stream keeps little."""

    def unbind(self: AnyTokens) -> list[AnyTokens]:
        """The frames of a batch, each a batch of one."""

    @staticmethod
    def cat(frames: Sequence[Any]) -> Any:
        """One batch of frames of one size, all with what the same slots need."""


class TemporalModule(Protocol):
    """Refines target frames by earlier ones, in two steps, so that a video can be streamed.

    What a frame gives to later ones must depend on that frame alone. ``cffm_plugin.CFFM`` is one.
    A module may have ``start_as_identity()``, after which targets come out as they are (until it is
    trained); ``set_activation_checkpointing(enable)``; a ``compile()`` that puts what it spends its
    time on through ``torch.compile``; and ``compute_in(dtype)``, which casts what may compute in
    half precision, for inference. Embeddings come and go in float32.

    Attributes:
        dim: channels of the embeddings that it takes and gives. Where the image head's have
            another number, they are projected.
        num_references: frames that it looks at besides the target.
    """

    dim: int
    num_references: int

    def assemble(self, frame: Tensor, slots: Sequence[int] | None = None) -> Tokens:
        """Embeddings of frames (B, dim, h, w) -> what later targets look at.

        Args:
            frame: the embeddings.
            slots: the places among the references that the frames will take, 0 the oldest; None:
                any, as in a stream, where a frame grows older.
        """

    def mine(self, target: Tensor, references: Sequence[Any]) -> Tensor:
        """Targets (B, dim, h, w) and the tokens of each reference, oldest first -> the same shape,
        refined."""


@dataclass(frozen=True)
class FrameMap:
    """Tokens for modules that look at past frames as they are.

    Attributes:
        frame: (B, C, h, w), whatever slot it comes to be in.
    """

    frame: Tensor

    def only(self, slots: Container[int]) -> "FrameMap":
        return self

    def unbind(self) -> list["FrameMap"]:
        return [FrameMap(frame) for frame in self.frame.split(1)]

    @staticmethod
    def cat(frames: Sequence["FrameMap"]) -> "FrameMap":
        return FrameMap(torch.cat([tokens.frame for tokens in frames]))
