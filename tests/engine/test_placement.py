"""Which process this is, by the variables of torchrun and of SLURM."""

import socket

import pytest
from detectron2.engine import default_argument_parser

from cffm_plugin.engine.placement import Placement, placement_by_launcher, time_limits, url_of

SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "gpu[003-004,9]",
}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


def arguments(*flags):
    return default_argument_parser().parse_args(list(flags))


def test_torchrun_and_srun_say_which_process_this_is():
    found = placement_by_launcher(arguments(), TORCHRUN)
    assert found == Placement(rank=5, world_size=8, local_rank=1, url="env://")
    found = placement_by_launcher(arguments(), SRUN)
    assert (found.rank, found.world_size, found.local_rank) == (5, 8, 1)
    assert found.url == f"tcp://gpu003:{20_000 + 123456 % 20_000}"
    named = SRUN | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    assert placement_by_launcher(arguments(), named).url == "tcp://10.0.0.1:29500"


@pytest.mark.parametrize(
    "nodes, first",
    [
        ("localhost", "localhost"),
        ("gpu7,gpu9", "gpu7"),
        ("gpu[1,3]", "gpu1"),
        ("rack[01-04]-ib,x", "rack01-ib"),
        ("a-b.c[0010]", "a-b.c0010"),
    ],
)
def test_processes_meet_on_the_first_machine_of_the_list(nodes, first):
    url = placement_by_launcher(arguments(), SRUN | {"SLURM_STEP_NODELIST": nodes}).url
    assert url.startswith(f"tcp://{first}:")


def test_steps_of_a_job_meet_at_ports_of_their_own():
    urls = {
        placement_by_launcher(arguments(), SRUN | {"SLURM_STEP_ID": str(step)}).url
        for step in range(50)
    }
    assert len(urls) == 50


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},  # torchrun --nproc-per-node 1
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"},  # sbatch's own script
        SRUN | {"SLURM_STEP_NUM_TASKS": "1"},  # srun --pty bash
    ],
)
def test_where_no_launcher_started_several_the_flags_decide(environment):
    assert placement_by_launcher(arguments("--num-gpus", "4"), environment) is None


def test_one_task_per_machine_may_start_its_own_processes():
    flags = ("--num-gpus", "4", "--num-machines", "8", "--machine-rank", "5")
    assert placement_by_launcher(arguments(*flags), SRUN) is None


@pytest.mark.parametrize(
    "environment, flags",
    [
        (TORCHRUN, ("--num-gpus", "4")),
        (TORCHRUN, ("--num-machines", "2")),
        (SRUN, ("--num-gpus", "4")),
    ],
)
def test_two_ways_of_starting_at_once_are_refused(environment, flags):
    with pytest.raises(ValueError, match=r"started the processes already.*Leave them out"):
        placement_by_launcher(arguments(*flags), environment)


@pytest.mark.parametrize(
    "missing", ["WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID"]
)
@pytest.mark.parametrize("value", [None, "", "x", "-1"])
def test_a_variable_that_is_no_number_is_named(missing, value):
    environment = dict(TORCHRUN if missing in TORCHRUN else SRUN)
    environment.pop(missing)
    if value is not None:
        environment[missing] = value
    with pytest.raises(ValueError, match=rf"{missing} is .*expected a number"):
        placement_by_launcher(arguments(), environment)


@pytest.mark.parametrize("nodes", ["", ",", "["])
def test_a_list_of_machines_that_can_not_be_read_says_what_to_set(nodes):
    with pytest.raises(ValueError, match="MASTER_ADDR"):
        placement_by_launcher(arguments(), SRUN | {"SLURM_STEP_NODELIST": nodes})


def test_an_automatic_address_is_for_one_machine_whose_port_is_fixed_only_where_one_is_named():
    assert url_of(arguments("--dist-url", "auto")) is None and url_of(arguments()) is None
    with pytest.raises(ValueError, match=r"tcp://HOST:PORT"):
        url_of(arguments("--dist-url", "auto", "--num-machines", "2"))
    assert url_of(arguments("--dist-url", "file:///tmp/x")) == "file:///tmp/x"


@pytest.mark.parametrize("flags", [(), ("--num-machines", "2")])
def test_a_named_port_that_is_taken_is_told_before_any_process_starts(flags):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        url = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=rf"{url}.*--dist-url tcp://HOST:PORT"):
            url_of(arguments("--dist-url", url, *flags))
        if flags:  # it is the first machine's
            assert url_of(arguments("--dist-url", url, *flags, "--machine-rank", "1")) == url
    assert url_of(arguments("--dist-url", url, *flags)) == url


def test_the_limits_for_lost_processes_are_what_the_key_documents():
    lost = [time_limits(0, on_gpu)[0].total_seconds() for on_gpu in (True, False)]
    assert lost == [600, 120]
    assert time_limits(7.5, False)[0].total_seconds() == 7.5
    with pytest.raises(ValueError, match=r"DISTRIBUTED\.TIMEOUT is -1"):
        time_limits(-1, False)
