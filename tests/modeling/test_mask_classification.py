"""Segmentors with Mask2Former's interface, wrapped: they stay what they are, and take clips."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Instances
from mask2former import add_maskformer2_config
from tiny_models import NUM_CLASSES, assert_void_trains_nothing, make_clip, void_of

from cffm_plugin import add_cffm_config
from cffm_plugin.checkpoint import SegmentorCheckpointer
from cffm_plugin.core.mask_prediction import MaskPrediction
from cffm_plugin.engine.tta import ClipSegmentorWithTTA
from cffm_plugin.export import StreamSpec, export_stream
from cffm_plugin.inference import LabelMapPredictor, StreamingSegmentor
from cffm_plugin.modeling import check_agreement
from cffm_plugin.modeling.heads.mask_classification import MaskCriterion

SIZES = [(97, 131), (64, 96)]


def make_config(module="CFFMRecall", attend_to="multi_scale_pixel_decoder", resize_first=False):
    cfg = get_cfg()
    add_cffm_config(cfg)
    add_maskformer2_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN = ("vspw_train",)
    cfg.MODEL.META_ARCHITECTURE = "CFFMSegmentor"
    cfg.MODEL.IMAGE_ARCHITECTURE = "MaskFormer"
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 5
    cfg.MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE = attend_to
    cfg.MODEL.MASK_FORMER.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = resize_first
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.MIT.NAME = "build_mit_backbone", "mit_tiny"
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.0  # so that two models see the same
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME, head.NUM_CLASSES = "MaskFormerHead", NUM_CLASSES
    head.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.CFFM.DEPTH, cfg.MODEL.CFFM.NUM_HEADS = 1, 2
    cfg.MODEL.TEMPORAL.NAME = module
    return cfg


def build(cfg):
    torch.manual_seed(0)
    return build_model(cfg).eval()


def image_segmentor_like(cfg, model):
    """The meta-architecture itself, with the weights of a wrapped one."""
    own = META_ARCH_REGISTRY.get("MaskFormer")(cfg).eval()
    missing, unexpected = own.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(name.startswith("temporal.") for name in unexpected)
    return own


def make_the_past_matter(model):
    torch.manual_seed(1)
    for parameter in model.temporal.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"module": "CFFM"},
        {"attend_to": "transformer_encoder"},
        {"attend_to": "pixel_embedding"},
        {"resize_first": True},
    ],
)
def test_an_untrained_one_gives_its_own_semantic_map_bit_for_bit(how, size):
    cfg = make_config(**how)
    model = build(cfg)
    own = image_segmentor_like(cfg, model)
    clip = make_clip(size)
    larger = {"height": 2 * size[0] - 1, "width": size[1] + 30}
    stream = StreamingSegmentor(model)
    with torch.no_grad():
        for extra in ({}, larger):
            (expected,) = own([{"image": clip["image"][-1], **extra}])
            (of_clip,) = model([clip | extra])
            (of_frame,) = model([{"image": clip["image"][-1], **extra}])
            assert torch.equal(of_clip["sem_seg"], expected["sem_seg"])
            assert torch.equal(of_frame["sem_seg"], expected["sem_seg"])
        for frame in clip["image"]:
            (expected,) = own([{"image": frame}])
            labels = stream.step(frame, channel_order=model.image_format)
            assert torch.equal(labels.long(), expected["sem_seg"].argmax(dim=0))


@pytest.mark.parametrize("output", ["refine", "classifier"])
def test_a_stream_gives_what_clips_give_to_the_bit(output):
    cfg = make_config()
    cfg.MODEL.TEMPORAL.OUTPUT = output
    cfg.MODEL.TEMPORAL.FRAME_OFFSETS = (-3, -2, -1)
    model = make_the_past_matter(build(cfg))
    stream = LabelMapPredictor(cfg, model)
    clips = LabelMapPredictor(cfg, model, streaming=False)
    frames = make_clip((45, 70), frames=5)["image"]
    size = {"height": 45, "width": 70}
    for t in (3, 4):
        clip = {"image": frames[t - 3 : t + 1], **size}
        (of_clip,) = clips([clip])
        stream.stream.reset()
        for index, frame in enumerate(clip["image"]):
            (streamed,) = stream([{"image": frame, "frame_index": index, **size}])
        assert torch.equal(streamed["label_map"], of_clip["label_map"])
        (full,) = model([clip])
        assert torch.equal(full["sem_seg"].argmax(dim=0), of_clip["label_map"].long())


def test_the_past_changes_masks():
    model = make_the_past_matter(build(make_config()))
    clip = make_clip((64, 96))
    with torch.no_grad():
        (of_clip,), (of_frame,) = model([clip]), model([{"image": clip["image"][-1]}])
    assert not torch.allclose(of_clip["sem_seg"], of_frame["sem_seg"], atol=1e-3)


def test_probabilities_are_the_normalised_map_and_logits_its_logarithm():
    model = build(make_config())
    frame = make_clip((64, 96))["image"][0]

    def streamed(output, **options):
        stream = StreamingSegmentor(model, **options)
        return stream.step(frame, output=output, channel_order=model.image_format)

    with torch.no_grad():
        scores = model([{"image": frame}])[0]["sem_seg"]
        probabilities, logits = streamed("probabilities"), streamed("logits")
        smoothed = streamed("probabilities", smoothing=0.5)
    assert torch.allclose(probabilities, scores / scores.sum(dim=0))
    assert torch.allclose(logits.exp(), scores)
    assert torch.allclose(smoothed.sum(dim=0), torch.ones(64, 96), atol=1e-5)
    tta = ClipSegmentorWithTTA(model, resizes=[[]], flip=False)
    (averaged,) = tta([{"image": frame.byte()}])
    assert torch.allclose(averaged["sem_seg"], probabilities, atol=1e-6)


def test_the_image_loss_is_the_architectures_own_criterion():
    cfg = make_config()
    model = build(cfg).train()
    own = image_segmentor_like(cfg, model).train()
    clip = make_clip((60, 90), labels=True)  # padded to 64 x 96
    for labels in clip["sem_seg"]:
        labels[:20] = 255
        labels[40:] = 3
    instances = []
    for labels in clip["sem_seg"]:
        classes = [k for k in range(NUM_CLASSES) if (labels == k).any()]
        masks = torch.stack([labels == k for k in classes])
        instances.append(Instances((60, 90), gt_classes=torch.tensor(classes), gt_masks=masks))
    expected = own([{"image": x, "instances": of} for x, of in zip(clip["image"], instances)])
    losses = model([clip])
    assert set(losses) == {*expected, "loss_video"}
    for name, loss in expected.items():
        assert torch.allclose(losses[name], loss, rtol=1e-5), name


def test_the_video_loss_is_the_cross_entropy_of_the_semantic_map():
    model = build(make_config()).train()
    clip = make_clip((64, 96), labels=True)
    losses = model([clip])
    # Untrained, the video prediction is the image segmentor's for the target: scores at stride 4.
    prediction = model.classify(model.encode(clip["image"][-1:]))
    classes = prediction.classes[0].softmax(dim=-1)[:, :-1]
    scores = torch.einsum("qk,qhw->khw", classes, prediction.masks[0].sigmoid())
    logits = F.interpolate(scores.log()[None], size=(64, 96), mode="bilinear")
    expected = model.video_loss_weight * F.cross_entropy(logits, clip["sem_seg"][-1][None])
    assert torch.allclose(losses["loss_video"], expected, rtol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_training_gives_finite_gradients_where_they_should_be(frozen):
    cfg = make_config()
    cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER = frozen
    model = build(cfg).train()
    losses = model([make_clip((64, 96), labels=True)])
    assert "loss_video" in losses and ("loss_sem_seg" in losses) == frozen
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if frozen and not name.startswith("temporal."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_without_a_temporal_module_it_trains_by_its_criterion():
    cfg = make_config()
    cfg.MODEL.TEMPORAL.ENABLED = False
    losses = build(cfg).train()([make_clip((64, 96), frames=1, labels=True)])
    names = {f"{name}{layer}" for name in ("loss_ce", "loss_mask") for layer in ("", "_0", "_1")}
    assert set(losses) == names


@pytest.mark.parametrize("temporal", [True, False])
def test_frames_of_void_train_nothing(temporal):
    cfg = make_config()
    cfg.MODEL.TEMPORAL.ENABLED = temporal
    assert_void_trains_nothing(build(cfg).train(), make_clip((32, 64), labels=True))


def test_a_criterion_that_takes_frames_without_masks_is_told_of_none():
    """It may divide by the number of masks of all processes."""

    class Counting(torch.nn.Module):
        weight_dict = {"loss_mask": 2.0}

        def forward(self, outputs, targets):
            self.masks = [len(target["masks"]) for target in targets]
            return {"loss_mask": 3 * outputs["pred_masks"].sum() + 1}

    model = build(make_config()).train()
    counting = Counting()
    model.head.criterion = MaskCriterion(counting, model.head.criterion.prepare_targets)
    clip = make_clip((64, 96), labels=True)
    model([void_of(clip)])
    assert counting.masks == [0, 0, 0, 0]
    model([clip, void_of(clip)])
    assert counting.masks == [NUM_CLASSES] * 4


def test_a_frame_of_void_among_others_changes_no_loss_of_masks():
    model = build(make_config()).train()
    clip = make_clip((64, 96), labels=True)
    features = model.backbone(model.normalise_and_pad(clip["image"])[0])
    prediction = model.head.classify(*model.head.embed(features))
    labels = torch.stack(clip["sem_seg"])
    labels[1] = 255
    kept = MaskPrediction(
        prediction.masks[[0, 2, 3]],
        prediction.classes[[0, 2, 3]],
        [{k: v[[0, 2, 3]] for k, v in layer.items()} for layer in prediction.auxiliary],
    )
    losses = model.head.losses(prediction, labels)
    expected = model.head.losses(kept, labels[[0, 2, 3]])
    assert losses.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_checkpoint_of_the_architecture_itself_loads(frozen, tmp_path):
    cfg = make_config()
    own = META_ARCH_REGISTRY.get("MaskFormer")(cfg).eval()
    torch.save({"model": own.state_dict()}, tmp_path / "model.pth")
    cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER = frozen
    model = build(cfg)
    SegmentorCheckpointer(model).load(str(tmp_path / "model.pth"))
    clip = make_clip((64, 96))
    with torch.no_grad():
        (expected,) = own([{"image": clip["image"][-1]}])
        assert torch.equal(model([clip])[0]["sem_seg"], expected["sem_seg"])
    SegmentorCheckpointer(model, str(tmp_path)).save("ours")
    cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER = not frozen
    other = SegmentorCheckpointer(build(cfg), require_all=True)
    other.load(str(tmp_path / "ours.pth"))
    with torch.no_grad():
        assert torch.equal(other.model([clip])[0]["sem_seg"], expected["sem_seg"])


def test_weights_for_other_classes_load_but_for_what_classifies_queries(tmp_path, caplog):
    """As published ones of ADE20K's 150 classes do for a training on another dataset."""
    cfg = make_config()
    theirs = META_ARCH_REGISTRY.get("MaskFormer")(cfg)
    torch.save({"model": theirs.state_dict()}, tmp_path / "model.pth")
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 4
    model = build(cfg)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    SegmentorCheckpointer(model).load(str(tmp_path / "model.pth"))
    anew = "sem_seg_head.predictor.class_embed."
    for name, weight in theirs.state_dict().items():
        of_classes = name.startswith((anew, "criterion."))
        assert torch.equal(model.state_dict()[name], before[name] if of_classes else weight), name
    assert "start anew: criterion.empty_weight, " + anew in caplog.text
    with pytest.raises(ValueError, match=r"class_embed\.weight has shape"):
        SegmentorCheckpointer(model, require_all=True).load(str(tmp_path / "model.pth"))


def test_heads_whose_forward_is_made_of_something_else_are_refused():
    model = build(make_config())
    check_agreement(model.head, model.backbone)
    decoder = model.sem_seg_head.pixel_decoder
    own = decoder.forward_features
    model.sem_seg_head.forward = lambda features: model.sem_seg_head.predictor(
        own(features)[2], 2 * own(features)[0]
    )
    with pytest.raises(ValueError, match="gives other"):
        check_agreement(model.head, model.backbone)


def test_what_does_not_go_says_why(tmp_path):
    spec = StreamSpec(frame_offsets=(-9, -6, -3))
    with pytest.raises(ValueError, match="MaskFormerHead is a head of mask classification"):
        export_stream(build(make_config()), spec, tmp_path, (64, 96))
    for node, key, value, message in (
        ("MODEL.TEMPORAL.PROTOTYPES", "ENABLED", True, "mask classification"),
        ("MODEL", "IMAGE_ARCHITECTURE", "OneFormer", "_ARCHITECTURE is OneFormer.*MODEL.IMPORTS"),
    ):
        cfg = make_config()
        cfg.merge_from_list([f"{node}.{key}", value])
        with pytest.raises(ValueError, match=message):
            build_model(cfg)
