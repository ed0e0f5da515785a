"""MRCFA's whole network against the official one, through configs and converted weights."""

import golden_cases
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model

from cffm_plugin.checkpoint import convert
from cffm_plugin.engine import build_optimizer

NO_DROPOUT = (
    *("MODEL.SEM_SEG_HEAD.DROPOUT", "0.0", "MODEL.TEMPORAL.DROPOUT", "0.0"),
    *("MODEL.MIT.DROP_PATH_RATE", "0.0"),
)


def official_shapes(variant):
    return golden_cases.load_json(f"mrcfa/official_state_dict_{variant}")


def build_golden_model(variant, *overrides):
    """The model of a shipped config with the deterministic official weights, loaded strictly."""
    model = build_model(golden_cases.config(f"mrcfa_mit_{variant}", *overrides))
    conversion = convert(golden_cases.state_dict(official_shapes(variant)))
    model.load_state_dict(conversion.weights)
    return model


@pytest.mark.parametrize("name", ["b0_eval", "b0_eval_two_frames", "b1_eval", "b1_eval_odd"])
def test_logits_agree_through_the_public_input_format(name):
    case = golden_cases.load_json(f"mrcfa/mrcfa_{name}")
    expected = golden_cases.load_arrays(f"mrcfa/mrcfa_{name}")["logits"]  # at a quarter of the size
    model = build_golden_model(case["variant"]).eval()
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    height, width = case["shape"][-2:]
    with torch.no_grad():
        outputs = model([{"image": list(clip), "height": height, "width": width} for clip in clips])
    logits = torch.stack([output["sem_seg"][:: case["class_stride"]] for output in outputs])
    # As the public result is made of the logits at a quarter: by the stride, then cropped.
    expected = F.interpolate(expected, scale_factor=4, mode="bilinear", align_corners=False)
    expected = expected[..., :height, :width]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module", params=["b0", "b1"])
def step(request):
    """A golden case; model and losses after one forward and backward pass."""
    case = golden_cases.load_json(f"mrcfa/mrcfa_{request.param}_train")
    model = build_golden_model(case["variant"], *NO_DROPOUT).train()
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    labels = golden_cases.labels(case)
    losses = model([{"image": list(c), "sem_seg": list(s)} for c, s in zip(clips, labels)])
    sum(losses.values()).backward()
    return case, model, losses


def test_losses_agree(step):
    case, _, losses = step
    assert losses["loss_sem_seg"].item() == pytest.approx(0.5 * case["loss_image"], abs=1e-5)
    assert losses["loss_video"].item() == pytest.approx(case["loss_video"], abs=1e-5)
    assert sum(losses.values()).item() == pytest.approx(case["loss"], abs=1e-5)


def test_gradient_norm_of_every_parameter_agrees(step):
    case, model, _ = step
    official = golden_cases.names_in(official_shapes(case["variant"]))
    ours = {official[name]: p.grad.norm().item() for name, p in model.named_parameters()}
    assert set(ours) == set(case["grad_norm"])
    for name in set(ours) - set(case["zero_gradient"]):
        assert ours[name] == pytest.approx(case["grad_norm"][name], rel=1e-3, abs=1e-6), name


def test_batch_norm_statistics_agree(step):
    case, model, _ = step
    norm = model.sem_seg_head.fuse.norm
    assert norm.running_mean.norm().item() == pytest.approx(case["bn_running_mean_norm"], abs=1e-5)
    assert norm.running_var.norm().item() == pytest.approx(case["bn_running_var_norm"], abs=1e-4)


def test_a_backbone_without_the_levels_is_refused_and_the_error_names_the_key():
    lists = ("MODEL.MIT.OUT_FEATURES", "['res2', 'res5']", "MODEL.SEM_SEG_HEAD.IN_FEATURES")
    cfg = golden_cases.config("mrcfa_mit_b0", *lists, "['res2', 'res5']")
    with pytest.raises(ValueError, match=r"MODEL\.MRCFA\.LEVELS.*res3, res4, res5.*res2, res5"):
        build_model(cfg)


def test_learning_rate_and_weight_decay_of_every_parameter_agree():
    cfg = golden_cases.config("mrcfa_mit_b0")
    model = build_model(cfg)
    expected = golden_cases.load_json("mrcfa/param_groups_b0")
    official = golden_cases.names_in(official_shapes("b0"))
    names = {parameter: official[name] for name, parameter in model.named_parameters()}
    assert set(names.values()) == {n for n in expected if not n.startswith("decode_head.conv_seg.")}
    groups = build_optimizer(cfg, model).param_groups
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            ours = group["lr"] / cfg.SOLVER.BASE_LR, group["weight_decay"]
            assert ours == pytest.approx(expected[names[parameter]], abs=1e-9), names[parameter]
