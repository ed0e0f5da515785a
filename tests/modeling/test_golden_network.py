"""The whole network against the official implementation, through configs and converted weights."""

import golden_cases
import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model

from cffm_plugin.checkpoint import convert
from cffm_plugin.modeling import MiT
from cffm_plugin.modeling.backbone import MIT_VARIANTS


def build_golden_model(variant, *overrides):
    """The model of a shipped config with the deterministic official weights, loaded strictly."""
    model = build_model(golden_cases.config(f"cffm_mit_{variant}", *overrides))
    conversion = convert(golden_cases.official_checkpoint(variant))
    model.load_state_dict(conversion.weights)
    return model


def test_mit_stages_agree():
    case, arrays = golden_cases.load_json("mit_b0"), golden_cases.load_arrays("mit_b0")
    mit = MiT(MIT_VARIANTS["mit_b0"]).eval()
    conversion = convert(golden_cases.official_checkpoint("b0"))
    mit.load_state_dict(
        {
            name.removeprefix("backbone."): tensor
            for name, tensor in conversion.weights.items()
            if name.startswith("backbone.")
        }
    )
    with torch.no_grad():
        features = mit(golden_cases.normal(case["input_seed"], case["shape"]))
    assert len(arrays) == len(features)
    for feature, expected in zip(features.values(), arrays.values()):
        torch.testing.assert_close(feature, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "cffm_b0_eval",
        "cffm_b1_eval",
        "cffm_b0_eval_odd",
        "cffm_b0_eval_first_frames",
        "cffm_b0_eval_two_frames",
    ],
)
def test_logits_agree_through_the_public_input_format(name):
    case = golden_cases.load_json(name)
    (expected,) = golden_cases.load_arrays(name).values()  # logits at a quarter of the input's size
    model = build_golden_model(case["variant"]).eval()
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    height, width = case["shape"][-2:]
    with torch.no_grad():
        outputs = model([{"image": list(clip), "height": height, "width": width} for clip in clips])
    logits = torch.stack([output["sem_seg"] for output in outputs])
    # The public result is at the input's own size.
    expected = F.interpolate(expected, size=(height, width), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


class TestTrainingStep:
    @pytest.fixture(scope="class")
    def case(self):
        return golden_cases.load_json("cffm_b0_train")

    @pytest.fixture(scope="class")
    def step(self, case):
        """Model and losses after one forward and backward pass."""
        model = build_golden_model(
            case["variant"],
            *("MODEL.SEM_SEG_HEAD.DROPOUT", "0.0", "MODEL.TEMPORAL.DROPOUT", "0.0"),
            *("MODEL.MIT.DROP_PATH_RATE", "0.0"),
        ).train()
        clips = golden_cases.normal(case["input_seed"], case["shape"])
        labels = golden_cases.labels(case)
        losses = model([{"image": list(c), "sem_seg": list(s)} for c, s in zip(clips, labels)])
        sum(losses.values()).backward()
        return model, losses

    def test_losses_agree(self, case, step):
        _, losses = step
        assert losses["loss_sem_seg"].item() == pytest.approx(0.5 * case["loss_image"], abs=1e-5)
        assert losses["loss_video"].item() == pytest.approx(case["loss_video"], abs=1e-5)
        assert sum(losses.values()).item() == pytest.approx(case["loss"], abs=1e-5)

    def test_gradient_norm_of_every_parameter_agrees(self, case, step):
        model, _ = step
        official = golden_cases.official_names("b0")
        ours = {official[name]: p.grad.norm().item() for name, p in model.named_parameters()}
        assert set(ours) == set(case["grad_norm"])
        # Exactly zero in exact arithmetic, because BatchNorm cancels them.
        cancelled = {f"decode_head.linear_c{i}.proj.bias" for i in range(1, 5)}
        cancelled.add("backbone.norm4.bias")
        for name, expected in case["grad_norm"].items():
            if name in cancelled:
                assert ours[name] < 1e-6 and expected < 1e-6, name
            else:
                assert ours[name] == pytest.approx(expected, rel=1e-3, abs=1e-6), name

    def test_batch_norm_statistics_agree(self, case, step):
        norm = step[0].sem_seg_head.fuse.norm
        assert not isinstance(norm, FrozenBatchNorm2d)
        assert norm.running_mean.norm().item() == pytest.approx(
            case["bn_running_mean_norm"], abs=1e-5
        )
        assert norm.running_var.norm().item() == pytest.approx(
            case["bn_running_var_norm"], abs=1e-4
        )
