"""TV3S' whole network against the official implementation, by configs and converted weights."""

import golden_cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from torch import nn

from cffm_plugin import StreamingSegmentor
from cffm_plugin.checkpoint import convert
from cffm_plugin.engine import CFFMTrainer, build_optimizer

NO_DROPOUT = (
    *("MODEL.SEM_SEG_HEAD.DROPOUT", "0.0", "MODEL.TEMPORAL.DROPOUT", "0.0"),
    *("MODEL.MIT.DROP_PATH_RATE", "0.0", "MODEL.TV3S.WINDOW_DROP_RATE", "0.0"),
)
# There is no config for B0, whose weights are not published.
B0 = ("MODEL.MIT.NAME", "mit_b0")
SMALL = (
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "64", "MODEL.TV3S.WINDOW_SIZE", "10"),
    *("MODEL.TV3S.SHIFT", "5", "MODEL.TV3S.DEPTH", "4"),
)
# Exactly zero in exact arithmetic, because BatchNorm cancels them.
CANCELLED = {*(f"decode_head.linear_c{i}.proj.bias" for i in range(1, 5)), "backbone.norm4.bias"}


def official_shapes(variant):
    return golden_cases.load_json(f"tv3s/official_state_dict_{variant}")


def build_golden_model(config, shapes, *overrides):
    """The model of a shipped config with the deterministic official weights, loaded strictly."""
    model = build_model(golden_cases.config(config, *overrides))
    model.load_state_dict(convert(golden_cases.state_dict(shapes)).weights)
    return model


def load_small(model):
    """Official weights for sizes that no checkpoint has: every tensor is one of ours as it is."""
    official = golden_cases.names_in(official_shapes("b0"))
    shapes = {official[name]: tuple(t.shape) for name, t in model.state_dict().items()}
    model.load_state_dict(convert(golden_cases.state_dict(shapes)).weights)


def expected_logits(arrays, case):
    """The reference's logits at a quarter of the input, as the public result is made of them."""
    height, width = case["shape"][-2:]
    logits = arrays["logits"]
    logits = F.interpolate(
        logits.flatten(0, -4), scale_factor=4, mode="bilinear", align_corners=False
    )
    return logits[..., :height, :width]


CASES = {
    "tv3s_b1_eval": ("tv3s_mit_b1", "b1"),
    "tv3s_b1_eval_first_frames": ("tv3s_mit_b1", "b1"),
    "tv3s_b1_eval_two_frames": ("tv3s_mit_b1", "b1"),
    "tv3s_b0_eval_odd": ("tv3s_mit_b1", "b0", *B0),
    "tv3s_swin_t_eval": ("tv3s_swin_t", "swin_t"),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_of_clips_agree_through_the_public_input_format(name):
    case, arrays = golden_cases.load_json(f"tv3s/{name}"), golden_cases.load_arrays(f"tv3s/{name}")
    config, variant, *overrides = CASES[name]
    model = build_golden_model(config, official_shapes(variant), *overrides).eval()
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    with torch.no_grad():
        outputs = model([{"image": list(clip)} for clip in clips])
    logits = torch.stack([output["sem_seg"][:: case["class_stride"]] for output in outputs])
    torch.testing.assert_close(logits, expected_logits(arrays, case), rtol=0, atol=1e-5)


def test_logits_of_a_stream_agree():
    """In mode "stream" the first frame goes through the temporal layers as well."""
    case = golden_cases.load_json("tv3s/tv3s_b1_stream")
    expected = expected_logits(golden_cases.load_arrays("tv3s/tv3s_b1_stream"), case)
    stream_mode = ("MODEL.TV3S.MODE", "stream")
    model = build_golden_model("tv3s_mit_b1", official_shapes("b1"), *stream_mode).eval()
    (clip,) = golden_cases.normal(case["input_seed"], case["shape"])
    segmentor = StreamingSegmentor(model)
    for frame, logits in zip(clip, expected, strict=True):
        ours = segmentor.step(frame, output="logits")[:: case["class_stride"]]
        torch.testing.assert_close(ours, logits, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def step():
    """A golden case; model and losses after one forward and backward pass."""
    case = golden_cases.load_json("tv3s/tv3s_small_train")
    model = build_model(golden_cases.config("tv3s_mit_b1", *NO_DROPOUT, *B0, *SMALL)).train()
    load_small(model)
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    labels = golden_cases.labels(case)
    losses = model([{"image": list(c), "sem_seg": list(s)} for c, s in zip(clips, labels)])
    sum(losses.values()).backward()
    return case, model, losses


def test_losses_agree(step):
    case, _, losses = step
    assert losses["loss_sem_seg"].item() == pytest.approx(0.5 * case["ce_image"], abs=1e-5)
    assert losses["loss_video"].item() == pytest.approx(case["ce_video"], abs=1e-5)
    assert sum(losses.values()).item() == pytest.approx(case["loss"], abs=1e-5)


def test_gradient_norm_of_every_parameter_agrees(step):
    case, model, _ = step
    official = golden_cases.names_in(official_shapes("b0"))
    ours = {official[name]: p.grad.norm().item() for name, p in model.named_parameters()}
    assert set(ours) == set(case["grad_norms"])
    for name, expected in case["grad_norms"].items():
        if name in CANCELLED:
            assert ours[name] < 1e-6 and expected < 1e-6, name
        else:
            assert ours[name] == pytest.approx(expected, rel=1e-3, abs=1e-6), name


def test_batch_norm_statistics_agree(step):
    case, model, _ = step
    norm = model.sem_seg_head.fuse.norm
    for ours, name in ((norm.running_mean, "mean"), (norm.running_var, "var")):
        expected = torch.tensor(case[f"bn_running_{name}"])
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", ["b1", "swin_t"])
def test_learning_rate_and_weight_decay_of_every_parameter_agree(variant):
    config = f"tv3s_{variant if 'swin' in variant else f'mit_{variant}'}"
    expected = golden_cases.load_json(f"tv3s/param_groups_{variant}")
    cfg = golden_cases.config(config)
    model = build_model(cfg)
    names = {p: name for name, p in model.named_parameters()}
    official = golden_cases.names_in(official_shapes(variant))
    ours = {
        official[names[p]]: [group["lr"] / cfg.SOLVER.BASE_LR, group["weight_decay"]]
        for group in build_optimizer(cfg, model).param_groups
        for p in group["params"]
    }
    assert set(expected) - set(ours) == {f"decode_head.conv_seg.{n}" for n in ("weight", "bias")}
    for name, (lr, decay) in ours.items():
        assert (lr, decay) == pytest.approx(tuple(expected[name]), abs=1e-9), name


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("tv3s_mit_b1", "b1_b2"),
        ("tv3s_mit_b2", "b1_b2"),
        ("tv3s_mit_b5", "b5"),
        ("tv3s_swin_t", "swin_t_swin_s"),
        ("tv3s_swin_s", "swin_t_swin_s"),
    ],
)
def test_schedules_agree(config, key):
    cfg = golden_cases.config(config)
    base = cfg.SOLVER.BASE_LR
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = CFFMTrainer.build_lr_scheduler(cfg, optimizer)
    expected = golden_cases.load_json("tv3s/lr_schedule")[key]
    assert max(map(int, expected)) == cfg.SOLVER.MAX_ITER - 1
    for iteration, (rate, head_rate) in expected.items():
        scheduler.last_epoch = int(iteration)
        ours = np.array([1.0, cfg.SOLVER.HEAD_LR_MULTIPLIER]) * scheduler.get_lr()[0]
        np.testing.assert_allclose(ours, (rate, head_rate), rtol=1e-9, atol=1e-15)
