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


def test_gradient_clipping_bounds_the_step_and_mask2formers_all_gradients_together(cfg):
    for gradient in clipped_gradients(cfg, "norm"):
        assert gradient.norm() == pytest.approx(0.5, rel=1e-4)
    # The norm of all together is 0.5: each of the 40 is 0.5 / sqrt(40).
    for gradient in clipped_gradients(cfg, "full_model"):
        assert torch.allclose(gradient, torch.full_like(gradient, 0.5 / 40**0.5), rtol=1e-4)


def tiny_model():
    return nn.ModuleDict({"backbone": nn.Linear(1, 1), "sem_seg_head": nn.Linear(1, 1)})


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize(
    "name, kind", [("ADAMW", "AdamW"), ("adamw", "AdamW"), ("sgd", "SGD"), ("ADAM", "Adam")]
)
def test_an_optimizers_name_may_have_any_case(cfg, name, kind):
    cfg = cfg.clone()
    cfg.SOLVER.OPTIMIZER = name
    assert type(build_optimizer(cfg, tiny_model())).__name__ == kind


def test_a_rate_without_an_optimizer_or_far_too_high_for_it_is_told(cfg, caplog):
    unsaid = load_config("", ["SOLVER.BASE_LR", "0.02"])
    with pytest.raises(ValueError, match=r"BASE_LR to 0\.02.*\n.*SGD.*\n.*AdamW.*0\.00006"):
        build_optimizer(unsaid, tiny_model())
    build_optimizer(
        load_config("", ["SOLVER.BASE_LR", "0.02", "SOLVER.OPTIMIZER", "AdamW"]), tiny_model()
    )
    assert "0.2 (SOLVER.BASE_LR 0.02" in caplog.text and "SGD" in caplog.text
    cfg = cfg.clone()
    cfg.SOLVER.OPTIMIZER = "Adma"
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER.*AdamW.*Adma"):
        build_optimizer(cfg, tiny_model())


def mask2formers_config(*overrides):
    cfg = load_config("", ["SOLVER.BASE_LR", "0.0001", "SOLVER.OPTIMIZER", "ADAMW", *overrides])
    cfg.SOLVER.BACKBONE_MULTIPLIER, cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.1, 0.0
    return cfg


class WithTables(nn.Module):
    """What the recipes tell apart: weights, normalisation, embeddings, tables of positions."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(1, 1), nn.LayerNorm(1)
        self.queries = nn.Embedding(1, 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(1))
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("of_norms, of_embeddings", [(0.0, 0.0), (0.02, 0.003)])
def test_mask2formers_keys_mean_what_they_mean_there(of_norms, of_embeddings, caplog):
    """A tenth of the rate for the backbone; decay for weights, and what the keys say for others."""
    cfg = mask2formers_config("SOLVER.WEIGHT_DECAY", "0.05", "SOLVER.MOMENTUM", "0.8")
    cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.WEIGHT_DECAY_EMBED = of_norms, of_embeddings
    cfg.SOLVER.THEIRS = 1
    model = nn.ModuleDict({"backbone": WithTables(), "sem_seg_head": WithTables()})
    with caplog.at_level("INFO", logger="cffm_plugin"):
        groups = groups_by_parameter(build_optimizer(cfg, model), model)
    for part, rate in (("backbone", 1e-5), ("sem_seg_head", 1e-4)):
        for name, decay in {
            **{"linear.weight": 0.05, "linear.bias": 0.05, "queries.weight": of_embeddings},
            **{"norm.weight": of_norms, "norm.bias": of_norms},
            **{"relative_position_bias_table": 0, "absolute_pos_embed": 0},
        }.items():
            assert groups[f"{part}.{name}"] == pytest.approx((rate, decay)), name
    assert f"{of_norms:g} of normalisation layers" in caplog.text
    assert "Learning rates: 1e-05 of the backbone, 0.0001 of all else" in caplog.text
    assert "Not used: SOLVER.MOMENTUM, SOLVER.THEIRS" in caplog.text


@pytest.mark.parametrize(
    "optimizer, key, value",
    [
        ("AdamW", "WEIGHT_DECAY_NORM", 0.3),
        ("AdamW", "MOMENTUM", 0.5),
        ("Adam", "NESTEROV", True),
        ("SGD", "BETAS", (0.8, 0.9)),
    ],
)
def test_a_key_that_is_set_and_not_used_is_named(cfg, optimizer, key, value, caplog):
    cfg = cfg.clone()
    cfg.SOLVER.OPTIMIZER = optimizer
    build_optimizer(cfg, tiny_model())
    assert "Not used" not in caplog.text
    cfg.SOLVER[key] = value
    build_optimizer(cfg, tiny_model())
    assert f"Not used: SOLVER.{key}" in caplog.text


def test_detectron2s_keys_of_biases_hold(cfg):
    cfg, model = cfg.clone(), tiny_model()
    cfg.SOLVER.BIAS_LR_FACTOR, cfg.SOLVER.WEIGHT_DECAY_BIAS = 2.0, 0.003
    groups = groups_by_parameter(build_optimizer(cfg, model), model)
    assert groups["backbone.bias"] == pytest.approx((2 * 6e-5, 0.003))
    assert groups["sem_seg_head.bias"] == pytest.approx((2 * 6e-4, 0.003))
    assert groups["sem_seg_head.weight"] == pytest.approx((6e-4, 0.01))


def test_a_bound_of_zero_on_all_gradients_is_none_as_in_mask2former(cfg, caplog):
    cfg = cfg.clone()
    node, model = cfg.SOLVER.CLIP_GRADIENTS, tiny_model()
    node.ENABLED, node.CLIP_TYPE, node.CLIP_VALUE = True, "full_model", 0.0
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    optimizer.step()
    assert all(float(parameter.grad.max()) == 100 for parameter in model.parameters())
    assert "CLIP_VALUE 0: nothing is clipped" in caplog.text


def test_adam_decays_through_the_gradient_and_adamw_beside_it(cfg):
    """A weight of 1 without a gradient of its own: Adam's first step is the rate, 6e-5, whatever
    the gradient of its decay; AdamW's is rate times decay, 6e-5 * 0.01."""
    for name, step in (("ADAM", 6e-5), ("AdamW", 6e-7)):
        cfg, model = cfg.clone(), tiny_model()
        cfg.SOLVER.OPTIMIZER = name
        weight = model["backbone"].weight
        nn.init.ones_(weight)
        optimizer = build_optimizer(cfg, model)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        assert 1 - weight.item() == pytest.approx(step, rel=0.1)


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
        (vit_model, 0.5, r"BIAS_LR_FACTOR can't go with SOLVER\.LAYER_DECAY"),
    ],
)
def test_a_layer_decay_that_can_not_hold_is_an_error(cfg, make_model, decay, message):
    cfg = cfg.clone()
    cfg.SOLVER.LAYER_DECAY = decay
    cfg.SOLVER.BIAS_LR_FACTOR = 2.0 if decay == 0.5 else 1.0
    with pytest.raises(ValueError, match=message):
        build_optimizer(cfg, make_model())
