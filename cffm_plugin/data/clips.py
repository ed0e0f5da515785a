"""Which frames of a video make a clip: pure functions over frame indices.

A clip is some reference frames and, last, the target frame. ``offsets`` says where the references
lie relative to the target, oldest first: (-9, -6, -3) is frames t-9, t-6 and t-3 of a target t.
No offsets: a clip is the target alone.
"""

import random
from collections.abc import Sequence

DEFAULT_OFFSETS = (-9, -6, -3)


def inference_clip(target: int, offsets: Sequence[int] = DEFAULT_OFFSETS) -> list[int]:
    """The frames to look at when predicting frame ``target``, oldest first, the target last.

    Far enough into the video, the references lie at the offsets. Before that they are spread over
    what there is: reference i of R is frame ceil(i * target / R). With fewer than R frames before
    the target there are no references.
    """
    check_offsets(offsets)
    if target < 0:
        raise ValueError(f"The target's index must not be negative, got {target}.")
    num_references = len(offsets)
    if target >= _span(offsets):
        return [target + offset for offset in offsets] + [target]
    if target < num_references:
        return [target]
    return [-(-i * target // num_references) for i in range(num_references)] + [target]


def training_clip(
    num_frames: int,
    offsets: Sequence[int],
    rng: random.Random,
    reverse_prob: float = 0.5,
) -> list[int]:
    """Draw a clip from a video of ``num_frames``: frame indices, the target last.

    With probability ``reverse_prob`` the video is reversed in time first, so that the references
    come after the target. The target is uniform over the frames that have all their references.

    Raises:
        ValueError: the video is too short; see ``is_long_enough``.
    """
    if not is_long_enough(num_frames, offsets):
        raise ValueError(
            f"A video of {num_frames} frames has no clip with frame offsets {tuple(offsets)}: "
            f"that takes {_span(offsets) + 1} frames."
        )
    reverse = rng.random() < reverse_prob
    target = rng.randint(_span(offsets), num_frames - 1)
    clip = [target + offset for offset in offsets] + [target]
    return [num_frames - 1 - index for index in clip] if reverse else clip


def is_long_enough(num_frames: int, offsets: Sequence[int]) -> bool:
    """Whether some frame of a video of ``num_frames`` has all its references."""
    check_offsets(offsets)
    return num_frames > _span(offsets)


def check_offsets(offsets: Sequence[int]) -> None:
    """Raise ValueError unless the offsets are negative and strictly increasing."""
    increasing = all(a < b for a, b in zip(offsets, offsets[1:]))
    if not increasing or any(offset >= 0 for offset in offsets):
        raise ValueError(
            "Frame offsets are negative and strictly increasing, oldest first, such as "
            f"{DEFAULT_OFFSETS}; got {tuple(offsets)}."
        )


def _span(offsets: Sequence[int]) -> int:
    """How far back the oldest reference lies."""
    return -offsets[0] if offsets else 0
