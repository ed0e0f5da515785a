"""tools/train_net.py as a person calls it, in one process and in several."""

import json
import os
import re
import signal
import socket
import time

import golden_cases
import pytest
import torch
import warm_process
from tiny_training import CONFIG, TINY, tiny_environment, write_tiny_vspw
from warm_process import WarmProcess


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    return write_tiny_vspw(tmp_path_factory.mktemp("datasets"))


def start(datasets, *arguments, launcher=(), **variables):
    """tools/train_net.py as a process, maybe started by a launcher."""
    return WarmProcess(
        [*launcher, "tools/train_net.py", *arguments], env=tiny_environment(datasets) | variables
    )


def finish(process, check=True):
    result = process.finish()
    if check:
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return "--dist-url", f"tcp://127.0.0.1:{free.getsockname()[1]}"


def train_net(datasets, *arguments, check=True):
    return finish(start(datasets, *arguments), check)


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory):
    """Output folder of a run of two processes without a GPU."""
    output = tmp_path_factory.mktemp("trained")
    report = ("TEST.SAVE_PREDICTIONS", True, "TEST.REPORT", True)
    result = train_net(datasets, "--num-gpus", 2, *CONFIG, "OUTPUT_DIR", output, *TINY, *report)
    assert "There is no CUDA device" in result.stdout + result.stderr
    assert (result.stdout + result.stderr).count("The report on vspw_val is") == 1
    return output


@pytest.mark.slow(reason="two processes train")
def test_two_processes_train_without_a_gpu_and_evaluate(trained):
    assert (trained / "model_final.pth").exists()
    assert json.loads((trained / "inference" / "vspw_results.json").read_text())["sem_seg"]
    metrics = [json.loads(line) for line in (trained / "metrics.json").read_text().splitlines()]
    assert any("loss_video" in line and "eta_seconds" in line for line in metrics)
    assert list(trained.glob("events.out.tfevents.*"))  # TensorBoard
    assert re.search(r"eta: .*loss_video", (trained / "log.txt").read_text())


def test_two_processes_make_one_report_of_what_they_evaluated_together(trained):
    results = json.loads((trained / "inference" / "vspw_results.json").read_text())["sem_seg"]
    report = json.loads((trained / "report" / "report.json").read_text())
    assert report["summary"]["mIoU"] == [results["mIoU"]]
    assert sorted(report["players"]) == sorted(report["videos"]) == ["v0", "v1", "v2"]
    assert (trained / "report" / "index.html").is_file()


@pytest.mark.slow(reason="torch.compile traces a training and an evaluation")
def test_compile_trains_and_evaluates_through_torch_compile(datasets, tmp_path):
    """Traced and differentiated as by the backend inductor, which takes minutes to make C++."""
    keys = ("OUTPUT_DIR", tmp_path, *TINY, "SOLVER.MAX_ITER", 2, "COMPILE.BACKEND", "aot_eager")
    train_net(datasets, "--compile", *CONFIG, *keys)
    log = (tmp_path / "log.txt").read_text()
    assert log.count("through torch.compile (aot_eager)") == 2  # to train, and to evaluate
    assert json.loads((tmp_path / "inference" / "vspw_results.json").read_text())["sem_seg"]
    weights = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert not any("_orig_mod" in name for name in weights)


@pytest.mark.slow(reason="nine processes evaluate")
def test_every_way_of_starting_any_number_of_processes_evaluates_to_the_same_digits(
    datasets, trained, tmp_path
):
    """Up to three processes for three videos, of which one is too short for a clip and for VC."""

    def arguments(way):
        weights = ("MODEL.WEIGHTS", trained / "model_final.pth", "OUTPUT_DIR", tmp_path / way)
        return ("--eval-only", *CONFIG, *TINY, *weights)

    address = free_address()
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    srun = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "localhost",
    }
    ways = {
        "one": [start(datasets, *arguments("one"))],
        "num-gpus": [start(datasets, "--num-gpus", 2, *arguments("num-gpus"))],
        "num-gpus at the same time": [start(datasets, "--num-gpus", 2, *arguments("beside"))],
        "torchrun": [start(datasets, *arguments("torchrun"), launcher=torchrun)],
        "machines": [
            start(
                *(datasets, "--num-machines", 2, "--machine-rank", rank, *address),
                *arguments("machines"),
            )
            for rank in (0, 1)
        ],
        "srun": [
            start(datasets, *arguments("srun"), **srun, SLURM_PROCID=rank, SLURM_LOCALID=rank)
            for rank in ("0", "1")
        ],
    }
    for processes in ways.values():
        for process in processes:
            finish(process)
    results = list(tmp_path.glob("*/inference/vspw_results.json"))
    assert len(results) == len(ways)
    assert len({file.read_bytes() for file in results}) == 1
    assert json.loads(results[0].read_text())["sem_seg"]["mVC8"] is not None


@pytest.mark.slow(reason="two processes start")
def test_an_error_of_two_processes_is_one_message_without_a_traceback(datasets, tmp_path):
    weights = ("MODEL.WEIGHTS", tmp_path / "nope.pth", "OUTPUT_DIR", tmp_path / "out")
    result = train_net(datasets, "--num-gpus", 2, *CONFIG, *TINY, *weights, check=False)
    assert result.returncode == 1
    assert result.stderr.count("There is no checkpoint") == 1
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.slow(reason="two processes train")
def test_a_signal_to_one_of_two_machines_stops_the_training_of_both_with_one_checkpoint(
    datasets, tmp_path
):
    endless = (*TINY, "SOLVER.MAX_ITER", 1_000_000, "SOLVER.CHECKPOINT_PERIOD", 1_000_000)
    address = free_address()
    machines = [
        start(
            *(datasets, "--num-machines", 2, "--machine-rank", rank, *address, *CONFIG, *endless),
            *("OUTPUT_DIR", tmp_path),
        )
        for rank in (0, 1)
    ]
    metrics = tmp_path / "metrics.json"
    while not (metrics.exists() and metrics.stat().st_size):  # written after 20 steps
        assert all(machine.poll() is None for machine in machines)
        time.sleep(0.1)
    asked = time.monotonic()
    machines[1].send_signal(signal.SIGUSR1)
    for result in [finish(machine, check=False) for machine in machines]:
        assert result.returncode == 75, result.stderr[-3000:]
    assert time.monotonic() - asked < 300
    (checkpoint,) = tmp_path.glob("model_*.pth")
    assert (tmp_path / "last_checkpoint").read_text() == checkpoint.name


def test_official_weights_evaluate_from_the_command_line(datasets, tmp_path):
    """The way of a person who has the authors' file: convert it, evaluate it."""
    torch.save(
        {"state_dict": golden_cases.official_checkpoint("b0"), "meta": {}},
        tmp_path / "official.pth",
    )
    converted = tmp_path / "converted.pth"
    conversion = warm_process.run(
        ["-m", "cffm_command", "convert", tmp_path / "official.pth", converted]
    )
    assert "official CFFM" in conversion.stdout and "left out" in conversion.stdout
    sizes = ("INPUT.CLIP.FIT_SIZE", "(64, 48)", "DATALOADER.NUM_WORKERS", "0")
    output = ("OUTPUT_DIR", tmp_path / "output", "DATASETS.TEST", "('vspw_test',)")
    train_net(datasets, "--eval-only", *CONFIG, "MODEL.WEIGHTS", converted, *sizes, *output)
    results = json.loads((tmp_path / "output" / "inference" / "vspw_results.json").read_text())
    assert set(results["per_video"]) == {"v0"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("MODEL.CFFM.DEPHT", "2"), "Did you mean MODEL.CFFM.DEPTH"),
        (("MODEL.WEIGHTS", "nowhere.pth"), "There is no checkpoint nowhere.pth"),
    ],
)
def test_mistakes_end_in_one_line_that_says_what_to_do(datasets, tmp_path, arguments, message):
    result = train_net(
        datasets, "--eval-only", *CONFIG, "OUTPUT_DIR", tmp_path, *arguments, check=False
    )
    assert result.returncode != 0
    assert message in result.stderr.strip().splitlines()[-1]
