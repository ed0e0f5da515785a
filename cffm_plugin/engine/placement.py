"""Which of several processes this one is, as --num-gpus, torchrun or SLURM's srun say it."""

import argparse
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlparse

from detectron2.engine import default_argument_parser


@dataclass(frozen=True)
class Placement:
    """A process among those of one training, which may be on several machines.

    Attributes:
        rank: of this process, 0 is the main one.
        world_size: the number of processes.
        local_rank: of this process on its machine; its GPU.
        url: where the processes meet, such as "tcp://10.0.0.1:29500", or "env://".
        is_held: whether the process that started this one holds that place; else rank 0 does.
    """

    rank: int
    world_size: int
    local_rank: int
    url: str
    is_held: bool = False


def placement_by_launcher(
    args: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> Placement | None:
    """What torchrun, or srun, says of this process; None where neither started several.

    Args:
        args: of detectron2's ``default_argument_parser``.
        environment: the variables of the process.

    Raises:
        ValueError: a variable is missing or wrong, or --num-gpus asks for processes as well.
    """
    if "RANK" in environment and _number(environment, "WORLD_SIZE") > 1:
        _refuse_flags(args, "torchrun (RANK and WORLD_SIZE are set)")
        return Placement(
            rank=_number(environment, "RANK"),
            world_size=_number(environment, "WORLD_SIZE"),
            local_rank=_number(environment, "LOCAL_RANK"),
            url="env://",
        )
    # Of a step that srun started. sbatch's own script has no such variable.
    is_step = "SLURM_STEP_NUM_TASKS" in environment and args.num_machines == 1
    if is_step and _number(environment, "SLURM_STEP_NUM_TASKS") > 1:
        _refuse_flags(args, "srun (SLURM_STEP_NUM_TASKS is set)")
        return Placement(
            rank=_number(environment, "SLURM_PROCID"),
            world_size=_number(environment, "SLURM_STEP_NUM_TASKS"),
            local_rank=_number(environment, "SLURM_LOCALID"),
            url=f"tcp://{_first_host(environment)}:{_port(environment)}",
        )
    return None


def url_of(args: argparse.Namespace) -> str | None:
    """--dist-url, where somebody has named one; None where processes of one machine may meet
    anywhere. detectron2's default, a port for each user, is nobody's choice, and neither is "auto".

    Raises:
        ValueError: several machines, and no address.
        ConnectionError: the port that is named is taken, on the machine that is to hold it.
    """
    chosen_by_none = ("auto", default_argument_parser().get_default("dist_url"))
    if args.num_machines == 1 and args.dist_url in chosen_by_none:
        return None
    if args.dist_url == "auto":
        raise ValueError(
            "--dist-url auto finds a port of one machine. With --num-machines, name the address "
            "of the first machine and a free port of it: --dist-url tcp://HOST:PORT"
        )
    if args.machine_rank == 0:
        _check_port(args.dist_url)
    return args.dist_url


def _check_port(url: str) -> None:
    port = urlparse(url).port if url.startswith("tcp://") else None
    if port is None:
        return
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch does
        try:
            trial.bind(("", port))
        except OSError as error:
            raise ConnectionError(
                f"Port {port} of this machine, where the processes are to meet ({url}), can't be "
                f"had: {error.strerror}. Another training may have it: name a free one, with "
                "several machines on each of them, by --dist-url tcp://HOST:PORT"
            ) from error


def time_limits(seconds: float, on_gpu: bool) -> tuple[timedelta, timedelta]:
    """How long a lost process is waited for, and how long a slow one.

    Args:
        seconds: DISTRIBUTED.TIMEOUT; 0 for 10 minutes with NCCL and 2 with gloo.
        on_gpu: whether NCCL is used.

    Raises:
        ValueError: the key is negative.
    """
    if seconds < 0:
        raise ValueError(f"DISTRIBUTED.TIMEOUT is {seconds}: expected seconds, or 0")
    lost = timedelta(seconds=seconds or (600 if on_gpu else 120))
    return lost, max(timedelta(minutes=30), lost)  # 30 minutes: detectron2's


def _refuse_flags(args: argparse.Namespace, launcher: str) -> None:
    if args.num_gpus > 1 or args.num_machines > 1:
        raise ValueError(
            f"{launcher} has started the processes already; --num-gpus and --num-machines would "
            "start more. Leave them out, or leave the launcher out."
        )


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise ValueError(
            f"The launcher's environment variable {name} is {value!r}: expected a number. Start "
            "the processes with torchrun, with srun, or with --num-gpus (docs/clusters.md)."
        )
    return int(value)


def _first_host(environment: Mapping[str, str]) -> str:
    """The machine of rank 0: the first of a list like "gpu[003-005,9],login1"."""
    if environment.get("MASTER_ADDR"):
        return environment["MASTER_ADDR"]
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    first = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\]([^,]*))?", hosts)
    if first is None:
        raise ValueError(
            f"SLURM_STEP_NODELIST is {hosts!r}: expected a list of machines. Set MASTER_ADDR to "
            "the address of the machine of the first process."
        )
    return "".join(part or "" for part in first.groups())


def _port(environment: Mapping[str, str]) -> int:
    """A port that the steps of a job, and jobs on one machine, have each for itself."""
    if environment.get("MASTER_PORT"):
        return _number(environment, "MASTER_PORT")
    job = _number(environment, "SLURM_JOB_ID") + 7919 * _number(environment, "SLURM_STEP_ID")
    return 20_000 + job % 20_000
