"""The contract of temporal modules: what refines the embedding of a frame by earlier ones.

There are two kinds. A ``WindowedModule`` looks at a few frames at fixed places in the past; what
each leaves depends on that frame alone. A ``RecurrentModule`` carries a state from frame to frame.
Which of the two a module is, nothing else needs to know.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from .clips import DEFAULT_OFFSETS, spaced_offsets
from .past import CarriedState, KeptTokens, Past


@dataclass(frozen=True)
class FrameFeatures:
    """What a temporal module gets of N frames.

    Attributes:
        cells: the embedding at the module's width and stride, (N, dim, h, w).
        levels: the backbone's maps that ``TemporalModule.levels`` names, (N, C_l, h_l, w_l), in
            that order.
        image: where ``TemporalModule.takes_image``: the frames as the backbone sees them,
            normalised and padded, (N, 3, H, W).
    """

    cells: Tensor
    levels: tuple[Tensor, ...] = ()
    image: Tensor | None = None


@dataclass
class Refined:
    """What ``WindowedModule.mine`` may give in training instead of a map.

    Attributes:
        cells: the refined cells, (N, dim, h, w).
        auxiliary: ``num_auxiliary`` further maps (N, dim, h', w'), each of which OUTPUT "refined"
            trains through a classifier of its own.
    """

    cells: Tensor
    auxiliary: tuple[Tensor, ...] = ()


def cells_of(refined: Tensor | Refined) -> Tensor:
    """The refined cells, whichever way they were given."""
    return refined.cells if isinstance(refined, Refined) else refined


class TemporalModule(nn.Module, ABC):
    """What both kinds of temporal modules have in common; a module is a subclass of one of them.

    Embeddings come and go in float32.

    Attributes:
        dim: channels of the embeddings that it takes and gives. Where the image head's have
            another number, they are projected.
        levels: names of the backbone's outputs that it looks at besides the embedding, such as
            ("res3", "res4", "res5").
        takes_image: whether it looks at the image as well.
        num_auxiliary: further maps that it gives in training, see ``Refined``.
    """

    dim: int
    levels: tuple[str, ...] = ()
    takes_image: bool = False
    num_auxiliary: int = 0

    @classmethod
    def build(
        cls, embedding_channels: int, output_shape: Mapping[str, Any], **arguments: Any
    ) -> Self:
        """One for an image segmentor; by default as wide as its embedding.

        Args:
            embedding_channels: of the image head's embedding.
            output_shape: of the backbone: name -> what has ``channels`` and ``stride``, see
                ``level_shapes``.
            arguments: further ones of the class.
        """
        return cls(embedding_channels, **arguments)

    def cell_grid(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the cells are to have, to which the embedding is resized in one
        bilinear step.

        Args:
            height, width: what the stride alone would give, sides rounded down.
        """
        return height, width

    def start_as_identity(self) -> bool:
        """Let targets come out as they are, until it is trained.

        Returns:
            whether they do; False where it does not know how to.
        """
        return False

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes activations again instead of keeping them."""

    def compile_parts(self, **options: Any) -> None:
        """Put what it spends its time on through ``torch.compile``, with its options."""

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast what may compute in half precision, for inference."""

    @property
    @abstractmethod
    def clip_length(self) -> int | None:
        """Frames of a clip, the target included; None: any number."""

    @property
    @abstractmethod
    def default_offsets(self) -> tuple[int, ...]:
        """Of a training clip's references relative to the target, oldest first."""

    @abstractmethod
    def refine_clip(
        self, references: Iterable[FrameFeatures], target: FrameFeatures
    ) -> Tensor | Refined:
        """The refined cells of N clips' targets, (N, dim, h, w).

        Args:
            references: of each place in the clips, oldest first, N frames.
            target: N frames.
        """

    @abstractmethod
    def first_past(self, frame_offsets: Sequence[int]) -> Past:
        """What a stream keeps at its start.

        Args:
            frame_offsets: of the references relative to the target, oldest first.

        Raises:
            ValueError: they do not fit the module.
        """

    def forward(self, clip: Tensor) -> Tensor:
        """Refine the last frame of a clip, (B, T, dim, h, w), oldest frame first: (B, dim, h, w).

        For modules that look at the embedding alone.
        """
        *references, target = (FrameFeatures(cells) for cells in clip.unbind(1))
        return cells_of(self.refine_clip(references, target))


def last_of_steps(
    step: Callable[[FrameFeatures, Any], tuple[Tensor, Any]],
    references: Iterable[FrameFeatures],
    target: FrameFeatures,
) -> Tensor:
    """The refined target after steps, see ``RecurrentModule.step``, through a clip's references."""
    state = None
    for frame in references:
        _, state = step(frame, state)
    return step(target, state)[0]


class WindowedModule(TemporalModule):
    """Refines target frames by frames at fixed places in the past, in two steps, so that a video
    can be streamed. ``cffm_plugin.CFFM`` is one.

    Attributes:
        num_references: frames that it looks at besides the target.
    """

    num_references: int

    @abstractmethod
    def assemble(self, frame: FrameFeatures, slots: Sequence[int] | None = None) -> Any:
        """What later targets look at, which may depend on this frame alone.

        Args:
            frame: N frames.
            slots: the places among the references that the frames will take, 0 the oldest; None:
                any, as in a stream, where a frame grows older.

        Returns:
            the frames' ``Tokens``.
        """

    @abstractmethod
    def mine(self, target: FrameFeatures, references: Sequence[Any]) -> Tensor | Refined:
        """Targets refined by the tokens of each of their references, oldest first.

        Returns:
            (N, dim, h, w), the size of the target's cells; in training maybe ``Refined``.
        """

    @property
    def clip_length(self) -> int:
        return self.num_references + 1

    @property
    def default_offsets(self) -> tuple[int, ...]:
        return spaced_offsets(self.num_references)

    def refine_clip(
        self, references: Iterable[FrameFeatures], target: FrameFeatures
    ) -> Tensor | Refined:
        tokens = [self.assemble(frame, slots=(slot,)) for slot, frame in enumerate(references)]
        return self.mine(target, tokens)

    def check_references(self, target: FrameFeatures, references: Sequence[Any]) -> None:
        """For modules whose tokens say ``height`` and ``width``, of the frame's cells.

        Raises:
            ValueError: there is another number of references, or one is of another size.
        """
        height, width = target.cells.shape[2:]
        if len(references) != self.num_references:
            raise ValueError(f"expected {self.num_references} references, got {len(references)}")
        for tokens in references:
            if (tokens.height, tokens.width) != (height, width):
                raise ValueError(
                    f"the target's features are {height}x{width}, those of a reference "
                    f"{tokens.height}x{tokens.width}: a clip's frames must have one size"
                )

    def first_past(self, frame_offsets: Sequence[int]) -> Past:
        if len(frame_offsets) != self.num_references:
            raise ValueError(
                f"the model takes {self.num_references} reference frames, got frame_offsets "
                f"{tuple(frame_offsets)}"
            )
        return KeptTokens(tuple(frame_offsets))


class RecurrentModule(TemporalModule):
    """Refines every frame by a state that it carries through the video.

    A clip of it is a fold of ``step`` from the start of a video, over however many frames there
    are, one included; so a stream of n frames is the clip of these n frames.
    """

    @abstractmethod
    def step(self, frame: FrameFeatures, state: Any) -> tuple[Tensor, Any]:
        """Refine the next frame of N videos.

        Args:
            frame: N frames.
            state: after the frames before; None: these are the videos' first. It must be left as
                it is, since a stream whose step fails goes on from it.

        Returns:
            the refined cells, (N, dim, h, w), the size of the frame's; and the state after the
            frame: a dataclass of tensors, the batch first, float32, of a size that does not depend
            on how many frames there were.
        """

    @property
    def clip_length(self) -> None:
        return None

    @property
    def default_offsets(self) -> tuple[int, ...]:
        return DEFAULT_OFFSETS

    def refine_clip(self, references: Iterable[FrameFeatures], target: FrameFeatures) -> Tensor:
        return last_of_steps(self.step, references, target)

    def first_past(self, frame_offsets: Sequence[int]) -> Past:
        return CarriedState()


class Tokens:
    """What a windowed module keeps of past frames: a dataclass of tensors, the batch first."""

    def only(self, slots: Container[int]) -> Any:
        """Without what is needed in other slots than these, so that a stream keeps little; by
        default all of it serves every slot."""
        return self


@dataclass(frozen=True)
class FrameMap(Tokens):
    """Tokens for modules that look at past frames as they are.

    Attributes:
        frame: (N, C, h, w), whatever slot it comes to be in.
    """

    frame: Tensor


def check_temporal_module(module: Any) -> None:
    """
    Raises:
        ValueError: it is none of the two kinds, or lacks an attribute. The message says what.
    """
    name = type(module).__name__
    if not isinstance(module, WindowedModule | RecurrentModule):
        raise ValueError(
            f"{name} is no temporal module: expected a WindowedModule (dim, num_references, "
            "assemble, mine) or a RecurrentModule (dim, step) of cffm_plugin.core. docs/extend.md "
            "shows one of each."
        )
    needed = ("dim", "num_references") if isinstance(module, WindowedModule) else ("dim",)
    missing = [attribute for attribute in needed if getattr(module, attribute, None) is None]
    if missing:
        raise ValueError(f"{name}: a temporal module sets {', '.join(missing)} in its __init__")
