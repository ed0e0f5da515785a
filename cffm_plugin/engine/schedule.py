"""The schedule of a config's learning rates: built, brought to a checkpoint's step, watched."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.projects.deeplab import build_lr_scheduler
from detectron2.projects.deeplab.lr_scheduler import WarmupPolyLR
from detectron2.solver.lr_scheduler import LRMultiplier, WarmupCosineLR, WarmupMultiStepLR
from fvcore.common.param_scheduler import ParamScheduler
from torch.optim import Optimizer

# Their rates are functions of the step and of what they were built with. Those of others, such as
# torch's, may follow from the rate before, which a checkpoint alone knows.
_OF_THE_STEP = (LRMultiplier, WarmupPolyLR, WarmupCosineLR, WarmupMultiStepLR)
_LAST = 1 - 2e-6  # of a whole of 1; fvcore's steps begin 1e-6 early


class _DefinedAtTheEnd(ParamScheduler):
    """fvcore's equal steps have no value at the end itself, to which the last iteration leads."""

    def __init__(self, steps: ParamScheduler):
        self.steps = steps

    def __call__(self, where: float) -> float:
        return self.steps(min(where, _LAST))


def build_schedule(cfg: CfgNode, optimizer: Optimizer) -> Any:
    """Detectron2's schedule of SOLVER.LR_SCHEDULER_NAME, DeepLab's WarmupPolyLR among them.

    Raises:
        ValueError: there is none of that name, or the other keys don't fit it.
    """
    name = cfg.SOLVER.LR_SCHEDULER_NAME
    try:
        schedule = build_lr_scheduler(cfg, optimizer)
    except (ValueError, AssertionError, ZeroDivisionError) as error:
        raise ValueError(
            f"SOLVER.LR_SCHEDULER_NAME {name} over SOLVER.MAX_ITER {cfg.SOLVER.MAX_ITER} "
            f"iterations can't be built of the keys of SOLVER: {error}"
        ) from error
    if name == "WarmupStepWithFixedGammaLR":
        schedule._multiplier = _DefinedAtTheEnd(schedule._multiplier)
    return schedule


def continue_schedule(
    optimizer: Optimizer,
    schedule: Any,
    stored: Mapping[str, Any],
    stored_groups: Sequence[Mapping[str, Any]],
) -> None:
    """Bring a schedule, and the rates of its optimizer, to the step of a checkpoint.

    Args:
        optimizer: with the moments of the checkpoint.
        schedule: of the config. Detectron2's go on along the curve of the config; others from the
            whole of their state, with the checkpoint's rates.
        stored: the schedule's ``state_dict`` in the checkpoint.
        stored_groups: ``param_groups`` of the optimizer there.
    """
    groups = optimizer.param_groups
    if not isinstance(schedule, _OF_THE_STEP):
        schedule.load_state_dict(stored)
        for group, before in zip(
            groups, stored_groups if len(groups) == len(stored_groups) else ()
        ):
            group["lr"] = before["lr"]
        return
    for key in ("last_epoch", "_step_count"):
        if key in stored:
            setattr(schedule, key, stored[key])
    rates = schedule.get_lr()
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates


def check_rates(optimizer: Optimizer, iteration: int) -> None:
    """
    Raises:
        FloatingPointError: a learning rate is negative or not finite.
    """
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        if not (math.isfinite(rate) and rate >= 0):
            raise FloatingPointError(
                f"A learning rate is {rate:g} at iteration {iteration}: expected a finite one, 0 "
                "or more. It comes of SOLVER.BASE_LR, of its multipliers and of the schedule, "
                "SOLVER.LR_SCHEDULER_NAME over SOLVER.MAX_ITER iterations. No weight was changed "
                "with it: correct the config and go on with --resume."
            )
