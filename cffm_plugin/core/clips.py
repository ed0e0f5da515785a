"""Which frames of a video make a clip: pure functions over frame indices.

A clip is some reference frames and, last, the target frame. ``offsets`` says where the references
lie relative to the target, oldest first: (-9, -6, -3) is frames t-9, t-6 and t-3 of a target t.
No offsets: a clip is the target alone.
"""

import random
from collections.abc import Sequence

from .defaults import FRAME_OFFSETS

DEFAULT_OFFSETS = FRAME_OFFSETS


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


def needed_later(index: int, offsets: Sequence[int]) -> dict[int, set[int]]:
    """Past frame -> the slots in which frame ``index`` and later ones need it."""
    needed: dict[int, set[int]] = {}
    for target in range(index, index - min(offsets, default=0)):
        *references, _ = inference_clip(target, offsets)
        for slot, reference in enumerate(references):
            if reference < index:
                needed.setdefault(reference, set()).add(slot)
    return needed


def offline_clip(
    target: int,
    num_frames: int,
    offsets: Sequence[int] = DEFAULT_OFFSETS,
    reverse_prob: float = 0.5,
) -> list[int]:
    """As ``inference_clip``, for a video that is there to its end and may be seen reversed in time.

    Where not all references lie before the target but all after it, they are taken from there, as
    in training: 2 looks at 11, 8 and 5 with offsets (-9, -6, -3).

    Args:
        target: index of the frame to predict.
        num_frames: the video's length.
        offsets: where the references lie, see above.
        reverse_prob: that of the model's training; at 0 it knows no reversed clips and gets none.
    """
    span = _span(offsets)
    if target < span and target + span < num_frames and reverse_prob > 0:
        return [target - offset for offset in offsets] + [target]
    return inference_clip(target, offsets)


def training_clip(
    num_frames: int,
    offsets: Sequence[int],
    rng: random.Random,
    reverse_prob: float = 0.5,
    labelled: Sequence[int] | None = None,
) -> list[int]:
    """Draw a clip from a video of ``num_frames``: frame indices, the target last.

    With probability ``reverse_prob`` the video is reversed in time first, so that the references
    come after the target. The target is uniform over the labelled frames that have all their
    references; where only one direction of time has any, that is the clip's direction.

    Args:
        num_frames: the video's length.
        offsets: where the references lie, see above.
        rng: what the clip is drawn from.
        reverse_prob: 0.0 never reverses, 1.0 always does.
        labelled: indices of the frames with labels, ascending; by default all frames.

    Raises:
        ValueError: no labelled frame has all its references; see ``training_targets``.
    """
    forward, backward = training_targets(num_frames, offsets, reverse_prob, labelled)
    if not (forward or backward):
        raise ValueError(
            f"A video of {num_frames} frames has no clip with frame offsets {tuple(offsets)}: "
            + (
                "no labelled frame has all its references."
                if is_long_enough(num_frames, offsets)
                else f"that takes {_span(offsets) + 1} frames."
            )
        )
    reverse = rng.random() < reverse_prob
    if not (backward if reverse else forward):
        reverse = not reverse
    targets = backward if reverse else forward
    target = targets[rng.randrange(len(targets))]
    return [target + (-offset if reverse else offset) for offset in offsets] + [target]


def training_targets(
    num_frames: int,
    offsets: Sequence[int],
    reverse_prob: float = 0.5,
    labelled: Sequence[int] | None = None,
) -> tuple[list[int], list[int]]:
    """Which frames can be the target of a training clip; see ``training_clip`` for the arguments.

    Returns:
        the labelled frames with all references before them, in order, and those with all
        references after them, in reversed order; each is empty if ``reverse_prob`` rules it out.
    """
    check_offsets(offsets)
    span = _span(offsets)
    frames = range(num_frames) if labelled is None else labelled
    forward = [t for t in frames if t >= span] if reverse_prob < 1 else []
    backward = [t for t in reversed(frames) if t + span < num_frames] if reverse_prob > 0 else []
    return forward, backward


def training_frames(
    num_frames: int,
    offsets: Sequence[int],
    reverse_prob: float = 0.5,
    labelled: Sequence[int] | None = None,
) -> set[int]:
    """Which frames some training clip holds; see ``training_clip`` for the arguments.

    Of a video of 10 frames, 0, 3, 6 and 9 with offsets (-9, -6, -3).
    """
    forward, backward = training_targets(num_frames, offsets, reverse_prob, labelled)
    from_target = (*offsets, 0)
    return {target + offset for target in forward for offset in from_target} | {
        target - offset for target in backward for offset in from_target
    }


def is_long_enough(num_frames: int, offsets: Sequence[int]) -> bool:
    """Whether some frame of a video of ``num_frames`` has all its references."""
    check_offsets(offsets)
    return num_frames > _span(offsets)


def spaced_offsets(num_references: int) -> tuple[int, ...]:
    """The default for a number of references: three frames apart, (-9, -6, -3) for three."""
    return tuple(-3 * k for k in range(num_references, 0, -1))


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
