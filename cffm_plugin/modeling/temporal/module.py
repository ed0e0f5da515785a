"""The contract of temporal modules, and the registry by whose names a config chooses one."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from detectron2.config import CfgNode
from detectron2.utils.registry import Registry
from torch import Tensor, nn

TEMPORAL_REGISTRY = Registry("TEMPORAL")
TEMPORAL_REGISTRY.__doc__ = """
Temporal modules: what refines the embedding of a target frame by those of earlier frames.

An entry is called with the config and the number of channels of the image head's embedding, and
returns a ``torch.nn.Module`` that offers ``TemporalModule``.
"""

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


def build_temporal_module(cfg: CfgNode, embedding_channels: int) -> Any:
    """The temporal module that MODEL.TEMPORAL.NAME says.

    Args:
        cfg: the config.
        embedding_channels: of the image head's embedding.

    Raises:
        ValueError: it does not offer the contract, or takes another number of references than
            MODEL.TEMPORAL.FRAME_OFFSETS has.
    """
    node = cfg.MODEL.TEMPORAL
    if node.NAME not in TEMPORAL_REGISTRY:
        raise ValueError(
            f"MODEL.TEMPORAL.NAME is {node.NAME}, but there is no temporal module of this name. "
            f"Registered are {', '.join(name for name, _ in TEMPORAL_REGISTRY)}."
        )
    module = TEMPORAL_REGISTRY.get(node.NAME)(cfg, embedding_channels)
    needed = ("dim", "num_references", "assemble", "mine")
    missing = [name for name in needed if not hasattr(module, name)]
    if missing or not isinstance(module, nn.Module):
        raise ValueError(
            f"MODEL.TEMPORAL.NAME: {node.NAME} is no temporal module: expected a torch.nn.Module "
            f"with {', '.join(needed)}; it lacks {', '.join(missing) or 'being a Module'}. "
            "docs/extend.md shows one."
        )
    if module.num_references != len(node.FRAME_OFFSETS):
        raise ValueError(
            f"{node.NAME} takes {module.num_references} reference frames, but "
            f"MODEL.TEMPORAL.FRAME_OFFSETS is {tuple(node.FRAME_OFFSETS)}: one offset for each"
        )
    return module
