"""Training stops at a loss that is not finite or that has run away."""

import math
import weakref
from typing import Any

from detectron2.engine import TrainerBase
from torch import nn

RUNNING_START = 5  # losses whose mean is where training started


def stop_at_bad_loss(model: nn.Module, trainer: TrainerBase, max_growth: float = 0.0) -> None:
    """Stop training, before any weight changes, at a loss that is not finite or far too large.

    Args:
        model: gives a dict of losses in training.
        trainer: whose iteration the error names.
        max_growth: how many times the mean of the first ``RUNNING_START`` losses a loss may be
            (those that are 0, of clips without labels, do not count); 0 for no bound.
    """
    trainer = weakref.proxy(trainer)
    first: list[float] = []

    def check(module: nn.Module, args: tuple[Any, ...], losses: Any) -> None:
        if not module.training:
            return
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        total = sum(values.values())
        if not math.isfinite(total):
            bad = {name: value for name, value in values.items() if not math.isfinite(value)}
            raise FloatingPointError(
                f"Loss is not finite at iteration {trainer.iter}: {bad or values}. "
                + _clips_and_advice(args[0])
            )
        if len(first) < RUNNING_START:
            if total > 0:
                first.append(total)
            return
        start = sum(first) / len(first)
        if max_growth and total > max_growth * start:
            raise FloatingPointError(
                f"The loss is {total:g} at iteration {trainer.iter}, {total / start:.0f} times "
                f"what it was at the start ({start:g}): training diverges. "
                f"(SOLVER.MAX_LOSS_GROWTH is {max_growth:g}; 0 for no bound.) "
                + _clips_and_advice(args[0])
            )

    model.register_forward_hook(check)


def _clips_and_advice(records: list[dict[str, Any]]) -> str:
    clips = "\n  ".join(describe_record(record) for record in records)
    return (
        f"The clips of this step:\n  {clips}\nThe weights are those of the step before. "
        "Checkpoints hold finite weights alone, but the last may already be on the way to this: go "
        "on from an earlier one if it is. Look at these files, lower SOLVER.BASE_LR, or set "
        "SOLVER.CLIP_GRADIENTS.ENABLED True."
    )


def describe_record(record: dict[str, Any]) -> str:
    """A clip, for a message: its video and files."""
    files = record.get("file_names") or [record.get("file_name", "unknown file")]
    return f"video {record.get('video_id', 'unknown')}: {', '.join(map(str, files))}"
