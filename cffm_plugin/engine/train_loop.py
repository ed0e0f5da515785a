"""One optimiser step over a batch that is fed in parts."""

import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer, TrainerBase
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..core.half_maps import train_what_is_off_in_float32
from .resuming import load_moments
from .schedule import check_rates

logger = logging.getLogger(__name__)


def seed_step(seed: int, iteration: int) -> None:
    """Make what a step draws (dropout, stochastic depth) a function of seed, step and process."""
    entropy = (seed, iteration, comm.get_rank())
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def precision_from_config(cfg: CfgNode) -> torch.dtype | None:
    """What SOLVER.AMP asks for; None for float32.

    Raises:
        ValueError: SOLVER.AMP.PRECISION is neither float16 nor bfloat16.
    """
    name = cfg.SOLVER.AMP.PRECISION
    if name not in ("float16", "bfloat16"):
        raise ValueError(f'SOLVER.AMP.PRECISION is "float16" or "bfloat16", got {name!r}')
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    if name == "float16" and torch.device(cfg.MODEL.DEVICE).type != "cuda":
        logger.warning(
            "SOLVER.AMP.ENABLED with SOLVER.AMP.PRECISION float16 needs CUDA; training goes on in "
            "float32. On a CPU, bfloat16 works."
        )
        return None
    return getattr(torch, name)


class AccumulatingTrainer(SimpleTrainer):
    """detectron2's training loop with gradient accumulation and mixed precision.

    An iteration is one optimiser step, whatever the number of parts, so that schedules, checkpoints
    and evaluation periods keep their meaning.

    With mixed precision every convolution and linear map is tried first, forward and backward, on
    a small input: what this device computes wrongly trains in float32, and the log names it.

    Args:
        model: takes a list of clips, gives a dict of losses that are means over clips.
        data_loader: gives lists of clips, the batch of this process.
        optimizer: of the model's parameters.
        accumulation_steps: in how many equal parts a batch goes through the model.
        precision: of automatic mixed precision: float16, with a gradient scaler, or bfloat16,
            without; None for float32.

    Attributes:
        clips: the batch of the step under way, or just done; [] before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict[str, Any]]],
        optimizer: torch.optim.Optimizer,
        *,
        accumulation_steps: int = 1,
        precision: torch.dtype | None = None,
    ):
        super().__init__(model, data_loader, optimizer)
        if accumulation_steps < 1:
            raise ValueError(f"accumulation_steps must be at least 1, got {accumulation_steps}")
        self.accumulation_steps = accumulation_steps
        self.precision = precision
        if precision is not None:
            train_what_is_off_in_float32(getattr(model, "module", model), precision)
        self.device_type = next(model.parameters()).device.type
        self.grad_scaler = torch.amp.GradScaler(
            self.device_type, enabled=precision is torch.float16
        )
        self.clips: list[dict[str, Any]] = []

    def run_step(self) -> None:
        assert self.model.training, "the model was changed to eval mode during training"
        check_rates(self.optimizer, self.iter)
        start = time.perf_counter()
        clips = self.clips = next(self._data_loader_iter)
        data_time = time.perf_counter() - start

        self.optimizer.zero_grad()
        parts = self._split(clips)
        total: dict[str, torch.Tensor] = {}
        for i, part in enumerate(parts):
            is_last = i == len(parts) - 1
            with self._without_reduction(until_last=not is_last):
                losses = self._backward(part, 1 / len(parts))
            for name, loss in losses.items():
                total[name] = total.get(name, 0.0) + loss
        self._write_metrics(total, data_time)
        self.grad_scaler.unscale_(self.optimizer)  # before it clips, fused or not
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _split(self, clips: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        size, rest = divmod(len(clips), self.accumulation_steps)
        if rest or not size:
            raise ValueError(
                f"A batch of {len(clips)} clips per process does not divide into "
                f"{self.accumulation_steps} parts; SOLVER.ACCUMULATION_STEPS must divide "
                "SOLVER.IMS_PER_BATCH over the number of processes."
            )
        return [clips[i : i + size] for i in range(0, len(clips), size)]

    def _backward(self, part: list[dict[str, Any]], weight: float) -> dict[str, torch.Tensor]:
        """Add a part's gradients; returns its weighted losses."""
        enabled = self.precision is not None
        with torch.autocast(self.device_type, dtype=self.precision, enabled=enabled):
            losses = {name: weight * loss for name, loss in self.model(part).items()}
        self.grad_scaler.scale(sum(losses.values())).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _without_reduction(self, until_last: bool) -> Any:
        """Processes exchange gradients once per step, with the last part."""
        if until_last and isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """As in detectron2; with the names of the parameters, in the optimizer's order."""
        state = super().state_dict() | {"parameter_names": self._parameter_names()}
        if self.grad_scaler.is_enabled():
            state["grad_scaler"] = self.grad_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The iteration and the optimizer's moments; its hyperparameters stay as they are."""
        TrainerBase.load_state_dict(self, state_dict)
        load_moments(
            self.optimizer,
            state_dict["optimizer"],
            self._parameter_names(),
            state_dict.get("parameter_names"),
        )
        if self.grad_scaler.is_enabled() and "grad_scaler" in state_dict:
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])

    def _parameter_names(self) -> list[str]:
        model: Any = getattr(self.model, "module", self.model)  # of DistributedDataParallel
        names = {parameter: name for name, parameter in model.named_parameters()}
        groups = self.optimizer.param_groups
        return [names[parameter] for group in groups for parameter in group["params"]]
