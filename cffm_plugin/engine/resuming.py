"""Going on with a training under the config of now, which may not be the config of then.

Of the optimizer a checkpoint gives the moments, of the schedule the step. Learning rates, weight
decay, betas and the like are the config's: what a checkpoint's optimizer says of them is passed
over, and what differs is logged.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from torch.optim import Optimizer

from ..config import flat_values

# Hyperparameters that say nothing of an optimizer's kind: how it computes, and where rates start.
_OF_ANY_KIND = {
    *("params", "param_names", "initial_lr", "foreach", "fused", "maximize", "capturable"),
    *("differentiable", "decoupled_weight_decay", "amsgrad"),
}
_OF_THE_MACHINE = ("OUTPUT_DIR", "MODEL.WEIGHTS", "MODEL.DEVICE")

logger = logging.getLogger(__name__)


def load_moments(
    optimizer: Optimizer,
    stored: Mapping[str, Any],
    names: Sequence[str],
    stored_names: Sequence[str] | None,
) -> None:
    """Load what an optimizer keeps of each parameter, and nothing of what a config says of it.

    Args:
        optimizer: of the config, its hyperparameters stay.
        stored: ``state_dict`` of another optimizer.
        names: of the parameters, in the order of the optimizer's groups.
        stored_names: of those of ``stored``; None for checkpoints that do not say it, whose groups
            must be alike.
    """
    now = optimizer.state_dict()
    if not _are_one_kind(stored, now):
        logger.warning(
            "The checkpoint's optimizer is of another kind than SOLVER.OPTIMIZER: its state is "
            "left, and that of the new one starts anew"
        )
        return
    if stored_names is None:
        if _sizes(stored) != _sizes(now):
            logger.warning(
                "The checkpoint's optimizer has other groups of parameters than the config makes, "
                "and does not say which they are: its state is left, and starts anew"
            )
            return
        stored_names = names
    indices = [index for group in stored["param_groups"] for index in group["params"]]
    by_name = {name: stored["state"].get(index) for name, index in zip(stored_names, indices)}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state, anew = {}, []
    for index, (name, parameter) in enumerate(zip(names, parameters, strict=True)):
        moments = by_name.get(name)
        if moments is not None and _fits(moments, parameter):
            state[index] = moments
        elif moments is not None or name not in by_name:
            anew.append(name)
    optimizer.load_state_dict({"state": state, "param_groups": now["param_groups"]})
    if anew:
        logger.warning(
            "The checkpoint's optimizer has nothing of %d parameters that train now, which start "
            "anew there: %s%s",
            len(anew),
            ", ".join(anew[:3]),
            ", ..." if len(anew) > 3 else "",
        )


def log_changed_settings(stored_config: str, cfg: CfgNode) -> None:
    """Log which keys a checkpoint's config, a YAML text, has other values of than ``cfg``."""
    try:
        stored = flat_values(CfgNode(yaml.safe_load(stored_config) or {}))
    except (yaml.YAMLError, TypeError, ValueError, AssertionError):  # a stranger's
        return
    now = flat_values(cfg)
    changed = [
        f"{key} {stored[key]} -> {now[key]}"
        for key in now
        if key in stored and stored[key] != now[key] and key not in _OF_THE_MACHINE
    ]
    if changed:
        logger.warning(
            "Training goes on with other settings than the checkpoint was made with; the config's "
            "hold from here: %s",
            ", ".join(changed),
        )


def _are_one_kind(stored: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Names of hyperparameters tell AdamW from SGD; Adam, whose moments have the decay, a flag.

    Checkpoints of older versions of torch don't have the flag.
    """
    names, flags = [], set()
    for state in (stored, now):
        names.append({key for group in state["param_groups"] for key in group} - _OF_ANY_KIND)
        flags |= {group.get("decoupled_weight_decay") for group in state["param_groups"]}
    return names[0] == names[1] and len(flags - {None}) < 2


def _sizes(state: Mapping[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def _fits(moments: Mapping[str, Any], parameter: torch.Tensor) -> bool:
    tensors = [value for value in moments.values() if isinstance(value, torch.Tensor)]
    return all(tensor.dim() == 0 or tensor.shape == parameter.shape for tensor in tensors)
