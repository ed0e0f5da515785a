"""Meta-architectures of other projects in our trainer, whose data are clips."""

import functools
from typing import Any

from torch import nn

from ..modeling import how_to_wrap


def explain_clips(model: nn.Module, name: str) -> None:
    """Where a model fails at a clip as one that takes images does, it says so from now on.

    Args:
        model: no CFFMSegmentor; maybe a stranger's video segmentor, which takes clips.
        name: of its meta-architecture.
    """
    forward = model.forward

    @functools.wraps(forward)
    def explained(batched_inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        try:
            return forward(batched_inputs, *args, **kwargs)
        except (AttributeError, TypeError) as error:
            if not any(isinstance(item.get("image"), list) for item in batched_inputs):
                raise
            raise ValueError(
                f"MODEL.META_ARCHITECTURE {name} failed at a clip, where `image` is a list of "
                f"frames, oldest first ({type(error).__name__}: {error}). Perhaps it takes images "
                f"alone. {how_to_wrap(name)}"
            ) from error

    model.forward = explained
