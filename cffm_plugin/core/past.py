"""A stream's past: the tokens of a few frames, or a state. What streams does not know which."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .clips import inference_clip, needed_later
from .nested import cat_batches, split_batch

if TYPE_CHECKING:
    from .temporal_module import FrameFeatures


class Past(ABC):
    """What is kept of the frames of a video so far. It is never changed: a step makes another.

    Attributes:
        index: of the next frame.
    """

    index: int

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether the next frame has nothing to look back at."""

    @property
    def group(self) -> Hashable:
        """Equal where streams can go on in one batch."""
        return type(self), self.is_empty

    @staticmethod
    @abstractmethod
    def advance(module: Any, frame: "FrameFeatures", pasts: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The next frame of N streams, whose pasts are of one group.

        Args:
            module: the temporal module; None for a plain image segmentor.
            frame: N frames.
            pasts: of each stream.

        Returns:
            the refined cells, (N, dim, h, w), None where the image segmentor alone segments these
            frames; and the pasts after them.
        """


@dataclass(frozen=True)
class KeptTokens(Past):
    """Of a windowed module: past frames' tokens, each for as long as later frames look at it.

    Attributes:
        offsets: references relative to the target, oldest first; () for a plain image segmentor.
        kept: past frame -> its tokens in the slots that later frames need, see ``Tokens``.
    """

    offsets: tuple[int, ...] = ()
    index: int = 0
    kept: dict[int, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.references()

    @property
    def group(self) -> Hashable:
        return self.offsets, self.is_empty

    def references(self) -> list[Any]:
        """The tokens that the next frame looks at, oldest first; [] where it has no past."""
        *references, _ = inference_clip(self.index, self.offsets)
        return [self.kept[index] for index in references]

    def after(self, tokens: Any) -> "KeptTokens":
        """With the next frame's tokens, and without what no frame after it needs."""
        needed = needed_later(self.index + 1, self.offsets)
        kept = {
            index: frame_tokens.only(needed[index])
            for index, frame_tokens in {**self.kept, self.index: tokens}.items()
            if index in needed
        }
        return replace(self, index=self.index + 1, kept=kept)

    @staticmethod
    def advance(
        module: Any, frame: "FrameFeatures", pasts: Sequence["KeptTokens"]
    ) -> tuple[Any, list["KeptTokens"]]:
        if not pasts[0].offsets:
            return None, [replace(past, index=past.index + 1) for past in pasts]
        refined = None
        if not pasts[0].is_empty:
            references = zip(*[past.references() for past in pasts], strict=True)
            refined = module.mine(frame, [cat_batches(frames) for frames in references])
        tokens = split_batch(module.assemble(frame), len(pasts))
        return refined, [p.after(own) for p, own in zip(pasts, tokens, strict=True)]


@dataclass(frozen=True)
class CarriedState(Past):
    """Of a recurrent module: its state after the frames so far.

    Attributes:
        state: see ``RecurrentModule.step``; None before the first frame.
    """

    index: int = 0
    state: Any = None

    @property
    def is_empty(self) -> bool:
        return self.state is None

    @staticmethod
    def advance(
        module: Any, frame: "FrameFeatures", pasts: Sequence["CarriedState"]
    ) -> tuple[Any, list["CarriedState"]]:
        is_start = pasts[0].is_empty
        state = None if is_start else cat_batches([past.state for past in pasts])
        refined, after = module.step(frame, state)
        states = split_batch(after, len(pasts))
        return refined, [
            CarriedState(past.index + 1, own) for past, own in zip(pasts, states, strict=True)
        ]
