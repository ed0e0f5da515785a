"""Gradient accumulation: an optimiser step over parts is the step over the whole batch."""

import copy

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.utils.events import EventStorage

from cffm_plugin.data import build_clip_train_loader
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine.train_loop import AccumulatingTrainer


@pytest.fixture
def batch(cfg):
    cfg.SOLVER.IMS_PER_BATCH = 8
    return next(iter(build_clip_train_loader(cfg)))


@pytest.fixture
def model(cfg):
    """Without dropout, stochastic depth or batch statistics: each would tell parts apart."""
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.0
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = cfg.MODEL.TEMPORAL.DROPOUT = 0.0
    torch.manual_seed(0)
    return FrozenBatchNorm2d.convert_frozen_batchnorm(CFFMTrainer.build_model(cfg)).train()


def step(model, batch, parts):
    """Gradients and logged losses of one step of plain SGD."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = AccumulatingTrainer(model, [batch], optimizer, accumulation_steps=parts)
    with EventStorage() as storage:
        trainer.iter = 0
        trainer.run_step()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return model, gradients, storage.latest()


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_step_in_parts_equals_the_step_over_the_batch(model, batch, parts):
    whole, whole_gradients, whole_log = step(model, batch, 1)
    split, split_gradients, split_log = step(model, batch, parts)
    for name, gradient in whole_gradients.items():
        torch.testing.assert_close(split_gradients[name], gradient, rtol=1e-4, atol=1e-5)
    for one, other in zip(whole.parameters(), split.parameters()):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    for name in ("total_loss", "loss_sem_seg", "loss_video"):
        assert split_log[name][0] == pytest.approx(whole_log[name][0], abs=1e-5)


def test_parts_that_do_not_divide_the_batch_are_an_error(model, batch):
    with pytest.raises(ValueError, match=r"8 clips.*3 parts.*SOLVER\.ACCUMULATION_STEPS"):
        step(model, batch, 3)


def test_iterations_stay_optimiser_steps(cfg):
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATION_STEPS = 4, 2
    trainer = CFFMTrainer(cfg)
    trainer.train()
    assert trainer.iter == cfg.SOLVER.MAX_ITER
    assert trainer.scheduler.last_epoch == cfg.SOLVER.MAX_ITER
