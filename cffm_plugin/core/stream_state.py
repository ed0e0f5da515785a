"""What a stream keeps between two frames."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from .past import Past


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
        past: what is kept of those before, see ``Past``.
        average: with smoothing, class probabilities so far, (K, h, w) at the head's stride.
    """

    size: tuple[int, int]
    past: Past
    average: Tensor | None = None
