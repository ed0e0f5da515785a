"""Parameter groups and schedule of the recipe, against the official tables."""

from pathlib import Path

import golden_cases
import pytest
import shallow_timm  # noqa: F401  (registers its models)
import torch
from detectron2.modeling import build_model
from torch import nn

from cffm_plugin.config import load_config
from cffm_plugin.engine import CFFMTrainer, build_optimizer
from cffm_plugin.modeling import TimmBackbone, TimmPyramid

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


def clipped_gradients(cfg, kind):
    """Of 40 parameters that all have a gradient of 100, after a step with clipping at 0.5."""
    cfg = cfg.clone()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    model = nn.ModuleDict({"backbone": nn.Linear(4, 4), "sem_seg_head": nn.Linear(4, 4)})
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    optimizer.step()
    return [parameter.grad for parameter in model.parameters()]


def test_gradient_clipping_bounds_the_step(cfg):
    for gradient in clipped_gradients(cfg, "norm"):
        assert gradient.norm() == pytest.approx(0.5, rel=1e-4)


def test_mask2formers_clipping_bounds_all_gradients_together(cfg):
    """The norm of all together is 0.5: each of the 40 is 0.5 / sqrt(40)."""
    for gradient in clipped_gradients(cfg, "full_model"):
        assert torch.allclose(gradient, torch.full_like(gradient, 0.5 / 40**0.5), rtol=1e-4)


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


def vit_model(freeze=False):
    net = TimmBackbone("shallow_vit_tiny_patch16_224", freeze=freeze)  # three blocks
    backbone = TimmPyramid(net, out_features=["res4"], out_channels=4)
    return nn.ModuleDict({"backbone": backbone, "sem_seg_head": nn.Linear(1, 1)})


def test_rates_of_a_vits_layers_decay_from_the_last_block_to_the_embeddings(cfg, caplog):
    """Half of the rate per layer: 2^-1 for the last block of three, 2^-4 for the embeddings."""
    cfg, model = cfg.clone(), vit_model()
    cfg.SOLVER.LAYER_DECAY = 0.5
    with caplog.at_level("INFO", logger="cffm_plugin"):
        groups = groups_by_parameter(build_optimizer(cfg, model), model)
    assert "3 blocks times 0.125 to 0.5, of its patch and position embeddings times 0.0625" in (
        caplog.text
    )
    vit = "backbone.net.extractor.model"
    for name, expected in {
        f"{vit}.pos_embed": (2**-4, 0),
        f"{vit}.patch_embed.proj.weight": (2**-4, 0.01),
        f"{vit}.blocks.0.attn.qkv.weight": (2**-3, 0.01),
        f"{vit}.blocks.1.norm1.weight": (2**-2, 0),
        f"{vit}.blocks.2.mlp.fc1.bias": (2**-1, 0.01),
        f"{vit}.norm.weight": (1, 0),
        "backbone.simfp_4.0.weight": (10, 0.01),
        "sem_seg_head.weight": (10, 0.01),
    }.items():
        lr, weight_decay = groups[name]
        assert (lr / 6e-5, weight_decay) == pytest.approx(expected), name


def test_what_is_frozen_is_in_no_group(cfg):
    model = vit_model(freeze=True)
    optimized = {p for group in build_optimizer(cfg, model).param_groups for p in group["params"]}
    trained = {p for name, p in model.named_parameters() if not name.startswith("backbone.net.")}
    assert optimized == trained and trained


@pytest.mark.parametrize(
    "make_model, decay, message",
    [
        (tiny_model, 0.8, r"LAYER_DECAY 0\.8 is for plain ViTs.*Linear.*Set it to 1\.0"),
        (lambda: vit_model(freeze=True), 0.8, r"TimmPyramid, is none or is frozen"),
        (vit_model, 0.0, r"LAYER_DECAY: expected more than 0 and at most 1, got 0"),
    ],
)
def test_a_layer_decay_that_can_not_hold_is_an_error(cfg, make_model, decay, message):
    cfg = cfg.clone()
    cfg.SOLVER.LAYER_DECAY = decay
    with pytest.raises(ValueError, match=message):
        build_optimizer(cfg, make_model())
