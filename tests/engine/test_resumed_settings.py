"""What --resume does where the config is another than the checkpoint's: the config holds."""

import copy
import logging
import math
from pathlib import Path

import pytest
import torch
from detectron2.engine import HookBase
from torch import nn

from cffm_plugin.config import load_config
from cffm_plugin.engine import CFFMTrainer, build_optimizer
from cffm_plugin.engine.schedule import build_schedule, continue_schedule
from cffm_plugin.engine.train_loop import AccumulatingTrainer

SCHEDULES = {
    "WarmupPolyLR": {},
    "WarmupPolyLR ending flat": {"POLY_LR_CONSTANT_ENDING": 0.3},
    "WarmupPolyLR of power 1": {"POLY_LR_POWER": 1.0},
    "WarmupMultiStepLR": {"STEPS": (3, 5), "GAMMA": 0.5},
    "WarmupCosineLR": {"BASE_LR_END": 0.0001},
    "WarmupStepWithFixedGammaLR": {"NUM_DECAYS": 2, "GAMMA": 0.5},
}
STOPPED_AFTER = 4  # iterations


class TwoParts(nn.Module):
    """What an optimizer is built for, in the smallest size."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.head = nn.Linear(2, 3)

    def forward(self, clips):
        return {"loss": self.head(self.backbone(torch.stack(clips))).square().mean()}


class Training:
    """Optimizer, loop and schedule as the trainer has them, of ``TwoParts``."""

    def __init__(self, solver, prepare=lambda model: None):
        self.solver = {"MAX_ITER": 8, "WARMUP_ITERS": 2, "LR_SCHEDULER_NAME": "WarmupPolyLR"}
        self.solver |= {"OPTIMIZER": "AdamW", "BASE_LR": 0.002} | solver
        cfg = load_config()
        for key, value in self.solver.items():
            cfg.SOLVER[key] = value
        torch.manual_seed(0)
        self.model = TwoParts()
        prepare(self.model)
        self.optimizer = build_optimizer(cfg, self.model)
        self.loop = AccumulatingTrainer(self.model, [[torch.ones(2)]] * 100, self.optimizer)
        self.schedule = build_schedule(cfg, self.optimizer)

    def rates(self, steps):
        """The rates of all groups at each of so many steps, which are taken."""
        rates = []
        for _ in range(steps):
            rates.append([group["lr"] for group in self.optimizer.param_groups])
            self.optimizer.zero_grad()
            sum(self.model([torch.ones(2)]).values()).backward()
            self.optimizer.step()
            self.schedule.step()
        return rates

    def resumed(self, solver, prepare=lambda model: None):
        """Another, of the same config but for these keys, at the state of this one."""
        other = Training(self.solver | solver, prepare)
        state = copy.deepcopy(self.loop.state_dict() | {"iteration": STOPPED_AFTER - 1})
        other.loop.load_state_dict(state)
        groups = state["optimizer"]["param_groups"]
        continue_schedule(other.optimizer, other.schedule, self.schedule.state_dict(), groups)
        return other

    def moments(self):
        """Name of each parameter that has some -> the optimizer's state of it."""
        state = self.optimizer.state
        return {name: state[p] for name, p in self.model.named_parameters() if p in state}


def stopped(prepare=lambda model: None, **solver):
    training = Training(solver, prepare)
    training.rates(STOPPED_AFTER)
    return training


@pytest.mark.parametrize("length", [6, 8, 16], ids=["shorter", "as before", "longer"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_goes_on_along_the_curve_of_the_new_length(schedule, length):
    keys = {"LR_SCHEDULER_NAME": schedule.split()[0], **SCHEDULES[schedule]}
    resumed = stopped(**keys).resumed({"MAX_ITER": length})
    unbroken = Training(keys | {"MAX_ITER": length}).rates(length)
    assert resumed.rates(length - STOPPED_AFTER) == unbroken[STOPPED_AFTER:]
    assert all(rate >= 0 for rates in unbroken for rate in rates)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_training_that_had_ended_goes_on_along_the_curve_of_a_larger_length(schedule):
    keys = {"LR_SCHEDULER_NAME": schedule.split()[0], **SCHEDULES[schedule], "STEPS": (3,)}
    resumed = stopped(**keys, MAX_ITER=STOPPED_AFTER).resumed({"MAX_ITER": 7})
    assert resumed.rates(3) == Training(keys | {"MAX_ITER": 7}).rates(7)[STOPPED_AFTER:]


@pytest.mark.parametrize(
    "solver",
    [
        {"BASE_LR": 0.001},
        {"HEAD_LR_MULTIPLIER": 5.0},
        {"WARMUP_FACTOR": 0.5, "WARMUP_ITERS": 6},
        {"POLY_LR_POWER": 2.0},
        {"LR_SCHEDULER_NAME": "WarmupCosineLR"},
        {"STEPS": (5,), "LR_SCHEDULER_NAME": "WarmupMultiStepLR"},
        {"WEIGHT_DECAY": 0.3},
        {"BACKBONE_WEIGHT_DECAY_NORM": 0.0001},  # that of the others: one group less
        {"BIAS_LR_FACTOR": 2.0, "WEIGHT_DECAY_BIAS": 0.0},  # other groups, in another order
        {"BETAS": (0.8, 0.99)},
        {"FUSED": True},
    ],
    ids=lambda solver: next(iter(solver)),
)
def test_what_the_config_says_of_the_optimizer_holds_and_its_moments_stay(solver):
    before = stopped()
    resumed, fresh = before.resumed(solver), Training(solver)
    for group, wanted in zip(
        resumed.optimizer.param_groups, fresh.optimizer.param_groups, strict=True
    ):
        for key in wanted.keys() - {"params", "lr"}:
            assert group[key] == wanted[key], key
    assert resumed.moments().keys() == before.moments().keys()
    for name, moments in before.moments().items():
        for key, value in moments.items():
            assert torch.equal(resumed.moments()[name][key], value), (name, key)
    assert resumed.rates(4) == fresh.rates(8)[STOPPED_AFTER:]


@pytest.mark.parametrize("momentum", [0.5, 0.0])
def test_momentum_of_sgd_is_the_configs(momentum):
    solver = {"OPTIMIZER": "SGD", "MOMENTUM": 0.9}
    resumed = stopped(**solver).resumed({"MOMENTUM": momentum, "NESTEROV": momentum > 0})
    for group in resumed.optimizer.param_groups:
        assert (group["momentum"], group["nesterov"]) == (momentum, momentum > 0)
    assert all("momentum_buffer" in moments for moments in resumed.moments().values())
    resumed.rates(1)


@pytest.mark.parametrize(
    "before, now", [("AdamW", "SGD"), ("SGD", "AdamW"), ("AdamW", "Adam"), ("Adam", "AdamW")]
)
def test_another_optimizer_starts_its_moments_anew_and_says_so(before, now, caplog):
    resumed = stopped(OPTIMIZER=before).resumed({"OPTIMIZER": now})
    assert not resumed.moments()
    assert "is of another kind" in caplog.text and "starts anew" in caplog.text
    resumed.rates(1)


def freeze(model):
    model.backbone.requires_grad_(False)


def test_what_was_frozen_starts_its_moments_anew_and_the_rest_keeps_its_own(caplog):
    before = stopped(freeze)
    resumed = before.resumed({})
    assert set(resumed.moments()) == {"head.weight", "head.bias"}
    assert torch.equal(
        resumed.moments()["head.weight"]["exp_avg"], before.moments()["head.weight"]["exp_avg"]
    )
    assert "4 parameters that train now" in caplog.text and "backbone.0.weight" in caplog.text
    resumed.rates(1)


def test_what_is_frozen_now_takes_no_moments_from_others():
    before = stopped()
    resumed = before.resumed({}, freeze)
    assert set(resumed.moments()) == {"head.weight", "head.bias"}
    assert torch.equal(
        resumed.moments()["head.bias"]["exp_avg"], before.moments()["head.bias"]["exp_avg"]
    )


def test_a_classifier_of_another_number_of_classes_starts_its_moments_anew(caplog):
    def widen(model):
        model.head = nn.Linear(2, 5)

    resumed = stopped().resumed({}, widen)
    assert {name for name in resumed.moments() if name.startswith("backbone")}
    assert not {name for name in resumed.moments() if name.startswith("head")}
    assert "2 parameters" in caplog.text and "head.weight, head.bias" in caplog.text
    resumed.rates(1)


@pytest.mark.parametrize("alike", [True, False])
def test_checkpoints_that_name_no_parameters_resume_where_groups_are_alike(alike, caplog):
    before = stopped()
    state = copy.deepcopy(before.loop.state_dict())
    del state["parameter_names"]
    for group in state["optimizer"]["param_groups"]:
        del group["decoupled_weight_decay"]  # nor have those of older versions of torch this
    resumed = Training({} if alike else {"BACKBONE_WEIGHT_DECAY_NORM": 0.0001})  # one group less
    resumed.loop.load_state_dict(state)
    assert resumed.moments().keys() == (before.moments().keys() if alike else set())
    assert ("does not say which they are" in caplog.text) != alike


def test_a_schedule_whose_rates_follow_from_one_another_goes_on_from_its_state():
    def halving(training):
        training.schedule = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.5)
        return training

    unbroken, before, resumed = (halving(Training({"WARMUP_ITERS": 0})) for _ in range(3))
    rates = unbroken.rates(8)
    before.rates(STOPPED_AFTER)
    state = before.loop.state_dict() | {"iteration": 3}
    resumed.loop.load_state_dict(state)
    groups = state["optimizer"]["param_groups"]
    continue_schedule(resumed.optimizer, resumed.schedule, before.schedule.state_dict(), groups)
    assert resumed.rates(4) == rates[STOPPED_AFTER:]


@pytest.mark.parametrize("rate", [-1e-5, math.nan, math.inf])
def test_a_rate_that_is_negative_or_not_finite_stops_before_a_weight_changes(rate):
    training = Training({})
    training.optimizer.param_groups[1]["lr"] = rate
    before = [p.detach().clone() for p in training.model.parameters()]
    with pytest.raises(FloatingPointError, match=r"learning rate is (-1e-05|nan|inf) at iteration"):
        training.loop.run_step()
    assert all(map(torch.equal, training.model.parameters(), before))


@pytest.mark.parametrize(
    "keys, said",
    [
        ({"LR_SCHEDULER_NAME": "Cosine"}, "Cosine"),
        ({"LR_SCHEDULER_NAME": "WarmupMultiStepLR", "STEPS": (8,)}, "MAX_ITER 8"),
        ({"LR_SCHEDULER_NAME": "WarmupCosineLR", "BASE_LR_END": 1.0}, "WarmupCosineLR"),
    ],
)
def test_a_schedule_that_the_keys_do_not_fit_is_an_error_that_names_them(keys, said):
    with pytest.raises(ValueError, match=rf"SOLVER\.LR_SCHEDULER_NAME.*{said}"):
        Training(keys)


class StopAfter(HookBase):
    def after_step(self):
        if self.trainer.iter == STOPPED_AFTER - 1:
            self.trainer.checkpointer.save("model_0000003", iteration=self.trainer.iter)
            raise KeyboardInterrupt


def test_the_trainer_goes_on_under_the_new_config_and_logs_what_changed(cfg, caplog):
    """The old length would end in a rate below zero."""
    cfg.DATASETS.TEST, cfg.SOLVER.MAX_ITER = (), STOPPED_AFTER + 1
    first = CFFMTrainer(cfg)
    first.register_hooks([StopAfter()])
    with pytest.raises(KeyboardInterrupt):
        first.train()

    same = CFFMTrainer(cfg)
    with caplog.at_level(logging.WARNING, logger="cffm_plugin.engine"):
        same.resume_or_load(resume=True)
    assert "other settings" not in caplog.text
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.WEIGHT_DECAY = 6, 0.25
    cfg.SEED, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATION_STEPS = 5, 4, 2
    cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION = True, "bfloat16"
    longer = CFFMTrainer(cfg)
    with caplog.at_level(logging.WARNING, logger="cffm_plugin.engine"):
        longer.resume_or_load(resume=True)
    assert longer.start_iter == STOPPED_AFTER
    for change in (
        "SEED 1 -> 5",
        "SOLVER.ACCUMULATION_STEPS 1 -> 2",
        "SOLVER.AMP.ENABLED False -> True",
        "SOLVER.IMS_PER_BATCH 2 -> 4",
        "SOLVER.MAX_ITER 5 -> 6",
        "SOLVER.WEIGHT_DECAY 0.0001 -> 0.25",
    ):
        assert change in caplog.text
    longer.train()
    rates = {group["lr"] for group in longer.optimizer.param_groups}
    assert rates == {0.0}  # where the curve of six iterations ends
    final = torch.load(Path(cfg.OUTPUT_DIR, "model_final.pth"), weights_only=True)
    assert final["iteration"] == 5

    cfg.SOLVER.MAX_ITER = 3
    with pytest.raises(ValueError, match=r"has trained 6 iterations, and SOLVER\.MAX_ITER is 3"):
        CFFMTrainer(cfg).resume_or_load(resume=True)
