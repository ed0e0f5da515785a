"""CFFMSegmentor: it is the image segmentor wherever it does not see a clip."""

import pytest
import torch
from detectron2.modeling import SemanticSegmentor, build_model
from tiny_models import NUM_CLASSES, make_clip, make_parts

from cffm_plugin import CFFM
from cffm_plugin.config import load_config
from cffm_plugin.modeling import CFFMSegmentor, MiT, TemporalHead, embedding_of
from cffm_plugin.modeling.backbone import MIT_VARIANTS

SIZES = [(64, 96), (97, 131), (33, 40)]


def make_segmentor(head="segformer", **kwargs):
    parts = make_parts(head)
    temporal = TemporalHead(CFFM(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier")
    return CFFMSegmentor(**parts, temporal=temporal, **kwargs)


@pytest.mark.parametrize("head", ["segformer", "fpn"])
@pytest.mark.parametrize("size", SIZES)
class TestImageSegmentor:
    def test_disabled_is_the_image_segmentor_bit_for_bit(self, head, size):
        plain = SemanticSegmentor(**make_parts(head)).eval()
        ours = CFFMSegmentor(**make_parts(head)).eval()
        assert ours.state_dict().keys() == plain.state_dict().keys()
        clip = make_clip(size, height=70, width=111)
        with torch.no_grad():
            (expected,) = plain([clip | {"image": clip["image"][-1]}])
            (result,) = ours([clip])
        assert torch.equal(result["sem_seg"], expected["sem_seg"])

    @pytest.mark.parametrize("frames", [1, 2, 3])
    def test_a_short_clip_gets_the_image_segmentors_logits_bit_for_bit(self, head, size, frames):
        plain = SemanticSegmentor(**make_parts(head)).eval()
        ours = make_segmentor(head).eval()
        clip = make_clip(size, frames)
        with torch.no_grad():
            (expected,) = plain([{"image": clip["image"][-1]}])
            (result,) = ours([clip])
        assert torch.equal(result["sem_seg"], expected["sem_seg"])

    def test_a_clip_gets_logits_of_the_size_asked_for(self, head, size):
        model = make_segmentor(head).eval()
        with torch.no_grad():
            own, other = model([make_clip(size), make_clip(size, height=50, width=77)])
        assert own["sem_seg"].shape == (NUM_CLASSES, *size)
        assert other["sem_seg"].shape == (NUM_CLASSES, 50, 77)

    def test_training_gives_every_parameter_a_finite_gradient(self, head, size):
        model = make_segmentor(head).train()
        losses = model([make_clip(size, labels=True) for _ in range(2)])
        assert set(losses) == {"loss_sem_seg", "loss_video"}
        sum(losses.values()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_one_tensor_is_a_clip_of_one_frame():
    model, clip = make_segmentor().eval(), make_clip(frames=1)
    with torch.no_grad():
        (as_list,) = model([clip])
        (as_tensor,) = model([clip | {"image": clip["image"][0]}])
    assert torch.equal(as_list["sem_seg"], as_tensor["sem_seg"])


def test_disabled_training_is_the_image_segmentor_on_all_frames():
    clip = make_clip(labels=True)
    images = [{"image": i, "sem_seg": s} for i, s in zip(clip["image"], clip["sem_seg"])]
    losses = []
    for model, inputs in (
        (CFFMSegmentor(**make_parts()), [clip]),
        (SemanticSegmentor(**make_parts()), images),
    ):
        model.sem_seg_head.dropout.p = 0.0
        torch.manual_seed(1)  # stochastic depth
        losses.append(model.train()(inputs))
    assert losses[0].keys() == losses[1].keys() == {"loss_sem_seg"}
    assert torch.equal(losses[0]["loss_sem_seg"], losses[1]["loss_sem_seg"])


def test_loss_weights_scale_the_two_losses():
    clip = make_clip(labels=True)
    losses = []
    for weights in ((0.5, 1.0), (1.0, 3.0)):
        model = make_segmentor(image_loss_weight=weights[0], video_loss_weight=weights[1]).train()
        torch.manual_seed(1)
        losses.append(model([clip]))
    torch.testing.assert_close(2 * losses[0]["loss_sem_seg"], losses[1]["loss_sem_seg"])
    torch.testing.assert_close(3 * losses[0]["loss_video"], losses[1]["loss_video"])


def test_an_image_segmentors_weights_load_into_the_image_part():
    plain, ours = SemanticSegmentor(**make_parts()), make_segmentor()
    result = ours.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys and all(k.startswith("temporal.") for k in result.missing_keys)


@pytest.mark.parametrize("frames", [0, 5])
def test_a_clip_of_a_wrong_length_or_of_two_sizes_is_an_error(frames):
    with pytest.raises(ValueError, match="at least one frame|at most 4"):
        make_segmentor().eval()([make_clip(frames=frames)])
    clip = make_clip(video_id="clip_7")
    clip["image"][1] = torch.zeros(3, 32, 32)
    with pytest.raises(ValueError, match=r"clip_7.*one size"):
        make_segmentor().eval()([clip])


@pytest.mark.parametrize("frames, labels", [(3, 3), (4, 3), (4, 0)])
def test_training_on_an_incomplete_clip_is_an_error(frames, labels):
    clip = make_clip(frames=frames, labels=True, video_id="clip_7")
    clip["sem_seg"] = clip["sem_seg"][:labels]
    with pytest.raises(ValueError, match=r"4 frames.*clip_7"):
        make_segmentor().train()([clip])


def test_parts_and_configs_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match="no temporal module"):
        CFFMSegmentor(**make_parts(), freeze_image_segmentor=True)
    with pytest.raises(ValueError, match="one number per reference frame"):
        build_model(tiny_config(["MODEL.TEMPORAL.FRAME_OFFSETS", "(-3,)"]))


def test_the_adapter_embeds_what_the_predictor_is_given():
    parts = make_parts("fpn")
    head = parts["sem_seg_head"].eval()
    shapes = MiT(MIT_VARIANTS["mit_tiny"]).output_shape()
    features = {n: torch.randn(1, s.channels, *2 * [64 // s.stride]) for n, s in shapes.items()}
    embedding = embedding_of(head, parts["backbone"])
    with torch.no_grad():
        assert torch.equal(embedding.classify(*embedding.embed(features)), head.layers(features))


@pytest.mark.parametrize(
    "channels, heads, dim",
    [
        (30, 8, 32),  # ceil(30 / 8) * 8
        (32, 7, 35),
        (32, 8, 32),
    ],
)
@pytest.mark.parametrize("prototypes", [False, True])
def test_a_width_that_heads_do_not_divide_is_projected_to_the_next(
    channels, heads, dim, prototypes
):
    overrides = ["MODEL.SEM_SEG_HEAD.CONVS_DIM", str(channels), "MODEL.CFFM.NUM_HEADS", str(heads)]
    overrides += ["MODEL.TEMPORAL.PROTOTYPES.ENABLED", str(prototypes), "MODEL.CFFM.DEPTH", "1"]
    model = build_model(tiny_config(overrides))
    assert model.temporal.module.dim == dim
    projection = {n for n in model.state_dict() if "projection." in n and n.startswith("temporal")}
    names = {"temporal.projection.weight", "temporal.projection.bias"}
    assert projection == (names if dim != channels else set())

    clip = make_clip(labels=True, prototypes=torch.randn(5, dim))
    assert model.encode(clip["image"]).cells.shape == (4, dim, 8, 12)  # 64x96 at stride 8
    with torch.no_grad():
        (result,) = model.eval()([clip])
    assert result["sem_seg"].shape[1:] == (64, 96)
    losses = model.train()([clip])
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_freezing_the_image_segmentor_trains_the_temporal_part_alone():
    model = make_segmentor(freeze_image_segmentor=True).train()
    assert model.training and all(module.training for module in model.temporal.modules())
    for part in (model.backbone, model.sem_seg_head):
        assert not any(module.training for module in part.modules())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(10):
        losses = model.train()([make_clip(labels=True)])
        assert set(losses) == {"loss_sem_seg", "loss_video"}
        assert not losses["loss_sem_seg"].requires_grad
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name, tensor in model.state_dict().items():  # BatchNorm's statistics among them
        changed = not torch.equal(tensor, before[name])
        assert changed == name.startswith("temporal."), name
    model.eval()
    assert not any(module.training for module in model.modules())


def test_config_freezes_the_image_segmentor():
    model = build_model(tiny_config(["MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER", "True"]))
    trained = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"temporal"}


def tiny_config(overrides):
    common = ["MODEL.META_ARCHITECTURE", "CFFMSegmentor", "MODEL.DEVICE", "cpu"]
    common += ["MODEL.BACKBONE.NAME", "build_mit_backbone", "MODEL.MIT.NAME", "mit_tiny"]
    common += ["MODEL.SEM_SEG_HEAD.NAME", "SegFormerHead", "INPUT.FORMAT", "RGB"]
    common += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", str(NUM_CLASSES), "MODEL.SEM_SEG_HEAD.NORM", "BN"]
    common += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res3', 'res4', 'res5']"]
    return load_config("", common + overrides)
