"""Meta-architectures of other projects in our trainer, whose data are clips."""

import functools
from typing import Any

from torch import Tensor, nn


def how_to_wrap(name: str) -> str:
    """What to write to train or evaluate an image segmentor on clips."""
    # The two are what holds anyway, and detectron2's default, which has no semantic head.
    named = name not in ("SemanticSegmentor", "GeneralizedRCNN")
    image = f" and MODEL.IMAGE_ARCHITECTURE {name}" if named else ""
    return (
        f"Use MODEL.META_ARCHITECTURE CFFMSegmentor{image}: with MODEL.TEMPORAL.ENABLED False it "
        "is the image segmentor, with the same weights; with True it has the temporal part on top."
    )


def explain_clips(model: nn.Module, name: str) -> None:
    """Where a model fails at a clip as one that takes images does, it says so from now on.

    Args:
        model: no CFFMSegmentor; maybe a stranger's video segmentor, which takes clips.
        name: of its meta-architecture.
    """
    forward = model.forward

    @functools.wraps(forward)
    def explained(batched_inputs: list[dict[str, Any]]) -> Any:
        try:
            return forward(batched_inputs)
        except (AttributeError, TypeError) as error:
            if all(isinstance(item["image"], Tensor) for item in batched_inputs):
                raise
            raise ValueError(
                f"MODEL.META_ARCHITECTURE {name} failed at a clip, where `image` is a list of "
                f"frames, oldest first ({type(error).__name__}: {error}). Perhaps it takes images "
                f"alone. {how_to_wrap(name)}"
            ) from error

    model.forward = explained
