"""Jumps in the numbers of a video's frames, where frames are missing or another shot begins."""

import itertools
import re
import statistics
from collections.abc import Sequence
from typing import Any

from ...errors import some


def cuts_at_gaps(numbers: Sequence[int]) -> list[int]:
    """Where new stretches begin: indices of the numbers after a step over twice the usual one.

    Args:
        numbers: of frames, increasing. The usual step is the median.
    """
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    largest = 2 * statistics.median(steps) if steps else 0
    return [i + 1 for i, step in enumerate(steps) if step > largest]


def gaps_of(names: Sequence[str]) -> list[int]:
    """``cuts_at_gaps`` of the last number in each frame's name; none where these don't increase."""
    found = [re.search(r"(\d+)\D*$", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) < len(names) or any(a >= b for a, b in itertools.pairwise(numbers)):
        return []
    return cuts_at_gaps(numbers)


def split_at_gaps(video: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The training records of a video's stretches without a gap, or the one of a video without any.

    Args:
        video: its training record.
        names: of its frames. A stretch is called "<video>/<its first frame>".
    """
    cuts = gaps_of(names)
    if not cuts:
        return [video]
    return [
        video
        | {"video_id": f"{video['video_id']}/{names[start]}", "frames": video["frames"][start:end]}
        for start, end in itertools.pairwise([0, *cuts, len(names)])
    ]


def gap_message(names: Sequence[str]) -> str | None:
    """Where frame numbers jump, and what to do; None where they don't."""
    jumps = [f"{names[cut - 1]} to {names[cut]}" for cut in gaps_of(names)]
    if not jumps:
        return None
    return (
        f"frame numbers jump from {some(jumps)}. References of clips and VC's windows reach "
        "across. If frames are missing there or another shot begins, split_at_gaps: true (in the "
        "YAML file of DATASETS.VIDEO_FOLDERS, or to register_vspw) makes videos of the stretches "
        "between; else number the frames without gaps."
    )
