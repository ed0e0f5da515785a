"""Predictions that are not finite: an error that says why, and never class 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .label_maps import all_finite


def name_of_frame(item: Mapping[str, Any]) -> str:
    """The target of a clip, for a message."""
    video, index = item.get("video_id", "unknown"), item.get("frame_index", "of unknown index")
    return f"Video {video}, frame {index} ({item.get('file_name', 'no file')})"


def not_finite(
    where: str,
    model: nn.Module,
    frames: Sequence[Tensor],
    prototypes: Tensor | None = None,
    autocast: torch.dtype | None = None,
) -> FloatingPointError:
    """The error of a prediction that holds NaN or infinite values, with the cause if it is seen.

    Args:
        where: which frame, for the message.
        model: what predicted it.
        frames: what it looked at, the target last.
        prototypes: those of the video, if it took any.
        autocast: the mixed precision, if it computed in one.
    """
    cause = _cause(model, frames, prototypes, autocast)
    return FloatingPointError(f"{where}: what the model makes of it is NaN or infinite. {cause}")


def _cause(
    model: nn.Module,
    frames: Sequence[Tensor],
    prototypes: Tensor | None,
    autocast: torch.dtype | None,
) -> str:
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not all_finite(values):
            return (
                f"So are weights of the model, {name} first: take another checkpoint as "
                "MODEL.WEIGHTS, of before training failed."
            )
    if not all_finite(*frames):
        return "So are pixels of its frames: look at where they come from, and leave such ones out."
    if prototypes is not None and not all_finite(prototypes):
        return "So are the prototypes of the video: make them again with cffm prototypes."
    if autocast is torch.float16:
        return (
            "Frames and weights are sound, so float16, which ends at 65504, has overflowed: set "
            'TEST.AUTOCAST to "bfloat16", or to "" for none.'
        )
    return (
        "Frames and weights are finite, so values overflow on the way or are divided by zero: the "
        "weights are those of a training that failed, or a layer is at fault. Take an earlier "
        "checkpoint as MODEL.WEIGHTS; or find the layer with torch.isfinite in forward hooks."
    )
