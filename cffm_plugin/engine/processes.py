"""Running a job in one process or several, started here, by torchrun or by SLURM's srun."""

import argparse
import inspect
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any
from urllib.parse import urlparse

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import distributed

from ..errors import ProcessFailedError, message_of
from ..stopping import Stopped
from .configs import config_of_arguments, with_config
from .lost_processes import LostProcessError, ProcessWatch
from .placement import Placement, placement_by_launcher, time_limits, url_of
from .preemption import SIGNALS, STOPPED

Limits = tuple[timedelta, timedelta]  # of time_limits

_SECONDS_TO_LEAVE = 10.0
_LONGEST_MESSAGE = 10_000  # characters, which a pipe holds until somebody reads them

logger = logging.getLogger(__name__)


def launch_job(job: Callable[..., Any], args: argparse.Namespace, *more: Any) -> Any:
    """Run ``job(args, *more)`` in the processes that were started, or are asked for.

    torchrun and srun start them, and this is one of them; or --num-gpus and --num-machines of
    detectron2's standard arguments ask for them, and they are started here.

    Returns:
        what the job returns, where this process runs it.

    Raises:
        ConnectionError: the processes do not all meet within DISTRIBUTED.TIMEOUT.
        LostProcessError: another process is gone, or failed.
        ProcessFailedError: a process that was started here met an error of what a person gave.
        SystemExit: with STOPPED, when training was asked to stop; with 143 where another job was.
    """
    placement = placement_by_launcher(args)
    if placement is not None:
        cfg = config_of_arguments(args)
        return _run_as(placement, _limits_from_config(cfg), job, with_config(args, cfg), *more)
    if args.num_gpus * args.num_machines == 1:
        return job(args, *more)
    return _launch_here(job, args, *more)


def _launch_here(job: Callable[..., Any], args: argparse.Namespace, *more: Any) -> None:
    """Start this machine's processes and wait for them."""
    if not torch.cuda.is_available():
        # More threads than cores: they must not spin while they wait. Read when a process starts.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A config that can't be read is an error before any process starts.
    limits, url = _limits_from_config(config_of_arguments(args)), url_of(args)
    args = with_config(args, None)
    if args.num_machines > 1:  # a warning, since nothing else is shown before they have come
        logger.warning("Waiting up to %s for all machines at %s", limits[0], url)
    held = None
    if url is None:  # held here, so that nobody can take the port between finding and using it
        held = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        url = f"tcp://127.0.0.1:{held.port}"
    messages = torch.multiprocessing.get_context("spawn").SimpleQueue()
    context = torch.multiprocessing.start_processes(
        _run_started,
        args=(limits, url, held is not None, messages, job, args, *more),
        nprocs=args.num_gpus,
        join=False,
    )
    try:
        with _signals_passed_on() as passed_on:
            while not context.join(**_time_to_leave(context)):
                pass
    except torch.multiprocessing.ProcessRaisedException as error:
        if messages.empty():
            raise
        raise ProcessFailedError(messages.get()) from error
    except torch.multiprocessing.ProcessExitedException as error:
        raise _reason_of(error, args, passed_on) from error
    if signal.SIGINT in passed_on:  # torch's processes end at it without a word
        raise KeyboardInterrupt


def _reason_of(
    error: torch.multiprocessing.ProcessExitedException,
    args: argparse.Namespace,
    passed_on: list[int],
) -> BaseException:
    """Why a process has ended without an error of Python's."""
    if error.exit_code == STOPPED:
        return SystemExit(STOPPED)
    for number in passed_on:
        if error.exit_code in (-number, 128 + number):
            return Stopped(number)
    rank = args.machine_rank * args.num_gpus + error.error_index
    world_size = args.num_machines * args.num_gpus
    return LostProcessError(
        f"Process {rank} of {world_size} (rank {rank}) is gone: {error}. "
        "It may have been killed for its memory. --resume goes on from the last checkpoint."
    )


def _time_to_leave(context: torch.multiprocessing.ProcessContext) -> dict[str, float]:
    """When one has ended, the others may say why they can't go on before they are ended."""
    known = inspect.signature(context.join).parameters  # older torch does not know it
    return {"grace_period": _SECONDS_TO_LEAVE} if "grace_period" in known else {}


def _limits_from_config(cfg: CfgNode) -> Limits:
    return time_limits(cfg.DISTRIBUTED.TIMEOUT, torch.cuda.is_available())


@contextmanager
def _signals_passed_on() -> Iterator[list[int]]:
    """Those that ask a job to stop go to the processes that were started here. Gives which came."""
    came: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        came.append(number)
        for pid in [process.pid for process in multiprocessing.active_children()]:
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_started(
    local_rank: int,
    limits: Limits,
    url: str,
    is_held: bool,
    messages: Any,
    job: Callable[..., Any],
    args: argparse.Namespace,
    *more: Any,
) -> None:
    rank = args.machine_rank * args.num_gpus + local_rank
    placement = Placement(rank, args.num_machines * args.num_gpus, local_rank, url, is_held)
    try:
        _run_as(placement, limits, job, args, *more)
    except Exception as error:  # of which torch passes on the traceback's text alone
        message = message_of(error)
        if message is not None:
            messages.put(message[:_LONGEST_MESSAGE])
        raise


def _run_as(placement: Placement, limits: Limits, job: Callable[..., Any], *args: Any) -> Any:
    """Meet the other processes, run the job, and leave them together."""
    watch = _meet(placement, *limits)
    try:
        result = job(*args)
        comm.synchronize()
    except Exception as error:
        explained = None if watch is None else watch.explain(error)
        if explained is None:
            raise
        raise explained from error
    except SystemExit:
        _leave()
        raise
    finally:
        if watch is not None:
            watch.stop()
    _leave()
    return result


def _leave() -> None:
    """Processes that just end may abort, and so may threads that outlive their group."""
    comm._get_global_gloo_group.cache_clear()
    distributed.destroy_process_group()


def _meet(placement: Placement, lost: timedelta, slow: timedelta) -> ProcessWatch | None:
    """Make the process groups, the machine's own too.

    Returns:
        a watch over the processes; None where they meet in a file.
    """
    on_gpu = torch.cuda.is_available()
    if on_gpu and placement.local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"Process {placement.local_rank} of this machine has no GPU: it has "
            f"{torch.cuda.device_count()}, and each process needs one of its own."
        )
    waiting = f"{placement.world_size} processes at {_place(placement)}"
    try:
        store = _store(placement, lost)
    except Exception as error:  # of many kinds
        raise ConnectionError(
            f"Process {placement.rank} waited {lost} for {waiting}, and not all came ({error}). Is "
            "every machine started with the same address and number of machines, and is the port "
            "free and reachable? DISTRIBUTED.TIMEOUT says how long is waited."
        ) from error
    if on_gpu:
        torch.cuda.set_device(placement.local_rank)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=store,
        rank=placement.rank,
        world_size=placement.world_size,
        timeout=slow,
    )
    comm.create_local_process_group(1 + max(comm.all_gather(placement.local_rank)))
    watch = _watch(placement, lost)
    comm.synchronize()
    if watch is not None:
        watch.start()
    return watch


def _store(placement: Placement, limit: timedelta) -> distributed.Store:
    """Where the processes tell one another how to meet."""
    if not placement.is_held:
        url, rank, world_size = placement.url, placement.rank, placement.world_size
        store, _, _ = next(distributed.rendezvous(url, rank, world_size, timeout=limit))
        return store
    address = urlparse(placement.url)
    assert address.hostname is not None and address.port is not None
    return distributed.TCPStore(
        address.hostname, address.port, placement.world_size, is_master=False, timeout=limit
    )


def _place(placement: Placement) -> str:
    if placement.url != "env://":
        return placement.url
    return f"tcp://{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _watch(placement: Placement, limit: timedelta) -> ProcessWatch | None:
    address = urlparse(_place(placement))
    if address.scheme != "tcp" or address.hostname is None or address.port is None:
        return None
    # A connection of its own: what waits on the other one would hold it up.
    store = distributed.TCPStore(
        address.hostname, address.port, is_master=False, wait_for_workers=False, timeout=limit
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    shared = distributed.PrefixStore(f"cffm_plugin/{attempt}", store)
    return ProcessWatch(shared, placement.rank, placement.world_size, limit)
