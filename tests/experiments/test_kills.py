"""Trainings that are killed at any moment end, resumed, in the bits of one left alone."""

import re

import pytest
import torch
import warm_process
from tiny_training import CONFIG, TINY, tiny_environment, write_tiny_vspw

from lab.kills import first_difference


@pytest.mark.slow(reason="five trainings, each in a process")
def test_a_training_killed_while_it_steps_or_writes_ends_in_the_same_bits(tmp_path):
    """SIGKILL. Dropout and stochastic depth are on, as in the recipe."""
    length = ("SOLVER.MAX_ITER", "40", "SOLVER.CHECKPOINT_PERIOD", "4", "DATASETS.TEST", "()")
    result = warm_process.run(
        [
            *("-m", "lab.kill_training", *CONFIG, "--kills", "2", "--seed", "6"),
            *("--output", str(tmp_path / "kills"), *TINY, *length),
        ],
        env=tiny_environment(write_tiny_vspw(tmp_path)),
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert len(re.findall(r"\| the same bits \|", result.stdout)) == 2


def checkpoint():
    return {"model": {"w": torch.tensor([0.0, float("nan")])}, "hooks": [{"iter": 3}, (1.5, None)]}


def test_equal_containers_do_not_differ_even_in_nan():
    assert first_difference(checkpoint(), checkpoint()) == ""


@pytest.mark.parametrize(
    "place, change",
    [
        ("checkpoint.model.w", lambda c: c["model"].update(w=torch.tensor([-0.0, float("nan")]))),
        ("checkpoint.model.w", lambda c: c["model"].update(w=c["model"]["w"].double())),
        ("checkpoint.model", lambda c: c["model"].clear()),
        ("checkpoint.hooks.0.iter", lambda c: c["hooks"][0].update(iter=4)),
        ("checkpoint.hooks.1.1", lambda c: c["hooks"].__setitem__(1, (1.5, 0))),
        ("checkpoint.hooks", lambda c: c["hooks"].pop()),
    ],
)
def test_the_first_difference_is_named(place, change):
    changed = checkpoint()
    change(changed)
    assert first_difference(changed, checkpoint()) == place
    assert first_difference(checkpoint(), changed) == place
