"""What a stream keeps between two frames."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from .clips import inference_clip


class StreamInput(NamedTuple):
    """The next frame of a stream: its image, (3, H, W), and what else goes into its prediction."""

    key: Hashable
    image: Tensor
    output_size: tuple[int, int]
    item: dict[str, Any]


@dataclass(frozen=True)
class StreamState:
    """One video under way, as it is between two frames.

    Attributes:
        size: height and width of its frames, as they are encoded.
        index: of the next frame.
        kept: past frame -> its tokens in the slots that later frames need, see ``Tokens``.
        average: with smoothing, class probabilities so far, (K, h, w) at the head's stride.
    """

    size: tuple[int, int]
    index: int = 0
    kept: dict[int, Any] = field(default_factory=dict)
    average: Tensor | None = None


def needed_later(index: int, offsets: Sequence[int]) -> dict[int, set[int]]:
    """Past frame -> the slots in which frame ``index`` and later ones need it."""
    needed: dict[int, set[int]] = {}
    for target in range(index, index - min(offsets, default=0)):
        *references, _ = inference_clip(target, offsets)
        for slot, reference in enumerate(references):
            if reference < index:
                needed.setdefault(reference, set()).add(slot)
    return needed
