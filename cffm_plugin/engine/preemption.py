"""Training that leaves when it is asked to, as clusters ask before they take a machine back.

SIGTERM, SIGUSR1 or SIGINT: the step is finished, a checkpoint is written, and all processes end
with the exit code STOPPED. ``--resume`` goes on from there, bit for bit.
"""

import logging
import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm

from ..checkpoint import SegmentorCheckpointer
from ..stopping import STOP_SIGNALS

STOPPED = 75  # EX_TEMPFAIL: it did not fail, and goes on when it is started again
SIGNALS = (*STOP_SIGNALS, signal.SIGINT)
_SECOND_CTRL_C = 1.0  # seconds; a terminal and a launcher may both pass on the first one

logger = logging.getLogger(__name__)


class TrainingStopped(SystemExit):
    """Training was asked to stop, and can be resumed."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class StopSignals:
    """While it is entered, the signals are noted; a second Ctrl-C still ends the process.

    Args:
        at_once: a signal does not wait, see the property.

    Attributes:
        received: the name of the first signal, or "".
    """

    def __init__(self, at_once: bool = False) -> None:
        self.received = ""
        self._at_once = at_once
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._pid = 0

    def __enter__(self) -> "StopSignals":
        self._pid = os.getpid()
        try:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        except ValueError:  # signals reach the main thread alone
            logger.warning("Training in a thread does not leave at signals")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def at_once(self) -> bool:
        """Whether a signal stops what is done, because all that counts is in a checkpoint."""
        return self._at_once

    @at_once.setter
    def at_once(self, value: bool) -> None:
        self._at_once = value
        self._leave_if_asked()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a worker that loads data: it ends with the training
        again = number == signal.SIGINT and self.received
        if again and time.monotonic() - self._since > _SECOND_CTRL_C:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self._since = signal.Signals(number).name, time.monotonic()
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        if self._at_once and self.received:
            raise TrainingStopped


class LeaveWhenAsked(HookBase):
    """Writes a checkpoint and ends training when any process has received a signal.

    It stands between the checkpointer's hook and evaluation's. An evaluation can take longer than
    a cluster waits, so every state that is evaluated is written before, and a signal ends an
    evaluation at once.

    Args:
        signals: of this process, entered while training runs.
        checkpointer: writes in the main process.
        checkpoint_period: of the checkpointer's own hook.
        eval_period: after how many steps evaluation runs; 0 for the end alone.
    """

    def __init__(
        self,
        signals: StopSignals,
        checkpointer: SegmentorCheckpointer,
        checkpoint_period: int,
        eval_period: int,
    ):
        self.signals = signals
        self.checkpointer = checkpointer
        self.checkpoint_period = checkpoint_period
        self.eval_period = eval_period

    def before_step(self) -> None:
        self.signals.at_once = False

    def after_step(self) -> None:
        steps = self.trainer.iter + 1
        is_last = steps == self.trainer.max_iter
        evaluates = self.eval_period > 0 and steps % self.eval_period == 0 and not is_last
        asked = self._any_process_is_asked()
        if (asked or evaluates) and not is_last and steps % self.checkpoint_period:
            name = f"model_{self.trainer.iter:07d}"
            self.checkpointer.save(name, iteration=self.trainer.iter)
        if asked:
            comm.synchronize()  # the main process has written
            logger.warning(
                "Stopped after iteration %d (%s). --resume goes on. Exit code %d",
                self.trainer.iter,
                self.signals.received or "another process was asked to",
                STOPPED,
            )
            raise TrainingStopped
        self.signals.at_once = evaluates

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:  # not after an error
            self.signals.at_once = True

    def _any_process_is_asked(self) -> bool:
        asked = bool(self.signals.received)
        if comm.get_world_size() == 1:
            return asked
        votes = torch.tensor([int(asked)])
        torch.distributed.all_reduce(votes, group=comm._get_global_gloo_group())
        return bool(votes.item())
