"""CFFM++: agreement with the official implementation, and that only its branch is trained."""

import golden_cases
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from tiny_models import NUM_CLASSES, make_clip, make_parts

from cffm_plugin import CFFM
from cffm_plugin.checkpoint import convert
from cffm_plugin.modeling import CFFMSegmentor, PrototypeBranch, TemporalHead


def make_segmentor():
    parts = make_parts()
    return CFFMSegmentor(
        **parts,
        temporal=TemporalHead(
            CFFM(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier"
        ),
        prototype_branch=PrototypeBranch(32, num_classes=NUM_CLASSES, num_heads=4),
    )


def test_logits_agree_through_the_public_input_format():
    case = golden_cases.load_json("cffm_plus_b0_eval")
    (expected,) = golden_cases.load_arrays("cffm_plus_b0_eval").values()
    model = build_model(golden_cases.config("cffm_plus_mit_b0")).eval()
    model.load_state_dict(convert(golden_cases.official_checkpoint("plus_b0")).weights)
    clips = golden_cases.normal(case["input_seed"], case["shape"])
    prototypes = golden_cases.normal(case["prototype_seed"], case["prototype_shape"])
    size = case["shape"][-2:]
    with torch.no_grad():
        outputs = model(
            [
                {"image": list(clip), "prototypes": of_video}
                for clip, of_video in zip(clips, prototypes)
            ]
        )
    logits = torch.stack([output["sem_seg"] for output in outputs])
    expected = F.interpolate(expected, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_a_short_clip_gets_the_image_segmentors_logits_alone():
    model, clip = make_segmentor().eval(), make_clip(frames=2)
    without = CFFMSegmentor(**make_parts()).eval()
    with torch.no_grad():
        (expected,), (result,) = without([clip]), model([clip])
    assert torch.equal(result["sem_seg"], expected["sem_seg"])


def test_videos_may_have_different_numbers_of_prototypes():
    model = make_segmentor().eval()
    clips = [make_clip(prototypes=torch.randn(n, 32)) for n in (5, 8)]
    with torch.no_grad():
        together, alone = model(clips), [model([clip])[0] for clip in clips]
    for one, other in zip(together, alone):
        torch.testing.assert_close(one["sem_seg"], other["sem_seg"], rtol=0, atol=1e-5)


def test_a_training_step_changes_the_branch_alone():
    model = make_segmentor().train()
    assert model.training and model.prototype_branch.dropout.training
    for part in (model.backbone, model.sem_seg_head, model.temporal):
        assert not any(module.training for module in part.modules())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = model([make_clip(labels=True, prototypes=torch.randn(5, 32)) for _ in range(2)])
    assert set(losses) == {"loss_sem_seg", "loss_prototype"}
    assert not losses["loss_sem_seg"].requires_grad
    sum(losses.values()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        if name.startswith("prototype_branch."):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        else:
            assert parameter.grad is None, name
    for name, tensor in model.state_dict().items():  # BatchNorm's statistics among them
        changed = not torch.equal(tensor, before[name])
        assert changed == name.startswith("prototype_branch."), name


def test_missing_prototypes_and_a_branch_without_cffm_are_errors():
    with pytest.raises(ValueError, match=r"clip_7.*cffm prototypes"):
        make_segmentor().eval()([make_clip(video_id="clip_7")])
    with pytest.raises(ValueError, match="built on a temporal module"):
        CFFMSegmentor(**make_parts(), prototype_branch=PrototypeBranch(32, num_classes=NUM_CLASSES))
