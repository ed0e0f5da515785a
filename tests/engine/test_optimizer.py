"""Parameter groups and schedule of the recipe, against the official tables."""

from pathlib import Path

import golden_cases
import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from cffm_plugin.config import load_config
from cffm_plugin.engine import CFFMTrainer, build_optimizer

CONFIG = Path(__file__).parents[2] / "configs" / "vspw" / "cffm_mit_b0.yaml"


@pytest.fixture(scope="module")
def cfg():
    return load_config(str(CONFIG), ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""])


def groups_by_parameter(optimizer, model):
    """name -> (learning rate, weight decay); every parameter stands in exactly one group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert names[parameter] not in groups
            groups[names[parameter]] = (group["lr"], group["weight_decay"])
    assert len(groups) == len(names)
    return groups


def test_learning_rate_and_weight_decay_of_every_parameter_agree(cfg):
    expected = golden_cases.load_json("param_groups_b0")
    model = build_model(cfg)
    ours = groups_by_parameter(build_optimizer(cfg, model), model)
    official = golden_cases.official_names("b0")
    assert {official[name] for name in ours} == {
        name for name in expected if not name.startswith("decode_head.conv_seg.")
    }
    for name, (lr, weight_decay) in ours.items():
        multiplier, decay = expected[official[name]]
        assert (lr / 6e-5, weight_decay) == pytest.approx((multiplier, decay), abs=1e-9), name


def test_schedule_agrees(cfg):
    case = golden_cases.load_json("lr_schedule")
    assert case["base_lr"] == cfg.SOLVER.BASE_LR and case["max_iter"] == cfg.SOLVER.MAX_ITER
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=case["base_lr"])
    scheduler = CFFMTrainer.build_lr_scheduler(cfg, optimizer)
    for iteration, expected in case["lr"].items():
        scheduler.last_epoch = int(iteration)
        assert scheduler.get_lr()[0] == pytest.approx(expected, rel=1e-9, abs=1e-15), iteration


def test_gradient_clipping_bounds_the_step(cfg):
    cfg = cfg.clone()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "norm"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    model = nn.ModuleDict({"backbone": nn.Linear(4, 4), "sem_seg_head": nn.Linear(4, 4)})
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    optimizer.step()
    for parameter in model.parameters():
        assert parameter.grad.norm() == pytest.approx(0.5, rel=1e-4)


def test_mask2formers_clipping_bounds_all_gradients_together(cfg):
    cfg = cfg.clone()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    model = nn.ModuleDict({"backbone": nn.Linear(4, 4), "sem_seg_head": nn.Linear(4, 4)})
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    optimizer.step()
    # 40 equal gradients whose norm together is 0.5: each is 0.5 / sqrt(40).
    for parameter in model.parameters():
        assert torch.allclose(parameter.grad, torch.full_like(parameter, 0.5 / 40**0.5), rtol=1e-4)


def test_an_unknown_optimizer_is_an_error(cfg):
    cfg = cfg.clone()
    cfg.SOLVER.OPTIMIZER = "Adma"
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER.*AdamW.*Adma"):
        build_optimizer(cfg, nn.ModuleDict({"backbone": nn.Linear(1, 1)}))


def tiny_model():
    return nn.ModuleDict({"backbone": nn.Linear(1, 1), "sem_seg_head": nn.Linear(1, 1)})


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("name, kind", [("ADAMW", "AdamW"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_an_optimizers_name_may_have_any_case(cfg, name, kind):
    cfg = cfg.clone()
    cfg.SOLVER.OPTIMIZER = name
    assert type(build_optimizer(cfg, tiny_model())).__name__ == kind


def test_a_rate_without_an_optimizer_is_an_error_that_offers_both():
    cfg = load_config("", ["SOLVER.BASE_LR", "0.02"])
    with pytest.raises(ValueError, match=r"BASE_LR to 0\.02.*\n.*SGD.*\n.*AdamW.*0\.00006"):
        build_optimizer(cfg, tiny_model())


def test_a_rate_that_is_far_too_high_for_adamw_is_warned_of(caplog):
    cfg = load_config("", ["SOLVER.BASE_LR", "0.02", "SOLVER.OPTIMIZER", "AdamW"])
    build_optimizer(cfg, tiny_model())
    assert "0.2 (SOLVER.BASE_LR 0.02" in caplog.text and "SGD" in caplog.text


def test_mask2formers_multiplier_holds_and_other_foreign_keys_are_named(caplog):
    cfg = load_config("", ["SOLVER.BASE_LR", "0.0001", "SOLVER.OPTIMIZER", "ADAMW"])
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0
    found = rates(build_optimizer(cfg, tiny_model()))
    assert sorted(set(found)) == pytest.approx([0.00001, 0.0001])
    assert "Not used: SOLVER.WEIGHT_DECAY_EMBED" in caplog.text
