"""A head's own losses train both predictions, so that a baseline and its video segmentor optimise
the same thing."""

import logging

import pytest
import torch
from detectron2.modeling import build_model
from tiny_models import NUM_CLASSES, assert_void_trains_nothing, make_clip

from cffm_plugin.config import load_config

SIZE = (64, 96)
SMALL = (32, 64)
# Head -> what it needs of the config.
HEADS = {
    "SegFormerHead": ["MODEL.SEM_SEG_HEAD.DROPOUT", "0.0", "MODEL.MIT.SIZE_DIVISIBILITY", "0"],
    "SemSegFPNHead": [],
    "DeepLabV3PlusHead": [
        *("MODEL.MIT.OUT_FEATURES", "['res2', 'res5']"),
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res5']"),
        *("MODEL.SEM_SEG_HEAD.PROJECT_FEATURES", "['res2']"),
        *("MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS", "[8]"),
        *("MODEL.SEM_SEG_HEAD.LOSS_TYPE", "hard_pixel_mining"),
    ],
    "DeepLabV3Head": [
        *("MODEL.MIT.OUT_FEATURES", "['res4']", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res4']"),
        *("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "16"),
    ],
}


def config(head, meta_architecture="CFFMSegmentor", **keys):
    common = {
        "MODEL.META_ARCHITECTURE": meta_architecture,
        "MODEL.DEVICE": "cpu",
        "MODEL.BACKBONE.NAME": "build_mit_backbone",
        "MODEL.MIT.NAME": "mit_tiny",
        "MODEL.MIT.DROP_PATH_RATE": "0.0",
        "MODEL.MIT.SIZE_DIVISIBILITY": "32",
        "MODEL.SEM_SEG_HEAD.NAME": head,
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": "['res2', 'res3', 'res4', 'res5']",
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": str(NUM_CLASSES),
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": "32",
        "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS": "32",
        "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS": "[1, 2, 3]",
        "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT": "0.0",
        "MODEL.SEM_SEG_HEAD.NORM": "BN",
        "MODEL.CFFM.DEPTH": "1",
        "MODEL.TEMPORAL.IMAGE_LOSS_WEIGHT": "0.3",
    }
    pairs = [word for pair in (common | keys).items() for word in pair]
    return load_config("", [*pairs, *HEADS[head]])


def build_both(head, **keys):
    """The image segmentor and a video segmentor with its weights, in training."""
    torch.manual_seed(0)
    image = build_model(config(head, "SemanticSegmentor", **keys)).train()
    video = build_model(config(head, **keys)).train()
    video.load_state_dict(image.state_dict(), strict=False)
    return image, video


def partly_void_clip():
    clip = make_clip(SIZE, labels=True)
    for i, labels in enumerate(clip["sem_seg"]):
        labels[: 8 * (i + 1)] = 255
    return clip


def images_of(clip):
    pairs = zip(clip["image"], clip["sem_seg"])
    return [{"image": image, "sem_seg": label} for image, label in pairs if label is not None]


@pytest.mark.parametrize("unlabelled", [(), (0, 2)])
@pytest.mark.parametrize("head", HEADS)
def test_the_image_loss_is_the_weighted_loss_of_the_image_segmentor(head, unlabelled):
    image, video = build_both(head, **{"MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": "1.7"})
    clip = partly_void_clip()
    clip["sem_seg"] = [None if i in unlabelled else x for i, x in enumerate(clip["sem_seg"])]
    if unlabelled:  # BatchNorm sees the unlabelled frames too, in a clip: so let it see none
        for model in (image, video):
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
    expected = image(images_of(clip))
    losses = video([clip])
    assert set(losses) == {*expected, "loss_video"}
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], 0.3 * loss, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("output", ["classifier", "refine"])
@pytest.mark.parametrize("head", HEADS)
def test_the_video_loss_is_the_heads_loss_of_the_video_logits(head, output):
    keys = {"MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": "1.7", "MODEL.TEMPORAL.OUTPUT": output}
    keys |= {"MODEL.TEMPORAL.NAME": "CFFM"}  # recall fades in, step by step
    _, video = build_both(head, **keys | {"MODEL.TEMPORAL.DROPOUT": "0.0"})
    for module in video.modules():  # statistics of one frame and of a clip differ
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    clip = partly_void_clip()
    loss = video([clip])["loss_video"]
    frames = [video.encode([frame]) for frame in clip["image"]]
    logits = video.output(frames[-1], video.refine_clip(frames[:-1], frames[-1])).logits()
    logits = torch.nn.functional.interpolate(
        logits, size=frames[-1].embedding.shape[2:], mode="bilinear", align_corners=False
    )
    (expected,) = video.sem_seg_head.losses(logits, clip["sem_seg"][-1][None]).values()
    expected = video.video_loss_weight * expected
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temporal", ["True", "False"])
@pytest.mark.parametrize("head", [*HEADS, "DeepLabV3PlusHead, cross entropy"])
def test_a_clip_without_a_labelled_pixel_has_no_loss_and_no_gradient(head, temporal):
    head, *loss = head.split(", ")
    cfg = config(head, **{"MODEL.TEMPORAL.ENABLED": temporal})
    if loss:
        cfg.MODEL.SEM_SEG_HEAD.LOSS_TYPE = "cross_entropy"
    assert_void_trains_nothing(build_model(cfg).train(), make_clip(SMALL, labels=True))


@pytest.mark.parametrize("head", ["SegFormerHead", "SemSegFPNHead"])
def test_so_it_is_in_bfloat16_and_with_another_value_for_void(head):
    model = build_model(config(head, **{"MODEL.SEM_SEG_HEAD.IGNORE_VALUE": "99"})).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_void_trains_nothing(model, make_clip(SMALL, labels=True), 99)


def test_a_head_without_losses_gets_the_cross_entropy_over_all_pixels_and_a_log_line(caplog):
    model = build_model(config("SegFormerHead")).train()
    head = model.sem_seg_head

    class Silent(torch.nn.Module):
        """The same head, which offers no losses."""

        ignore_value = 255

        def embed(self, features):
            return head.embed(features)

        def classify(self, embedding, context):
            return head.classify(embedding, context)

    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        silent = type(model)(
            backbone=model.backbone,
            sem_seg_head=Silent(),
            pixel_mean=model.pixel_mean.flatten().tolist(),
            pixel_std=model.pixel_std.flatten().tolist(),
            temporal=model.temporal,
            image_loss_weight=model.image_loss_weight,
            video_loss_weight=model.video_loss_weight,
        ).train()
    assert "Silent has no losses" in caplog.text
    assert silent.head.stride == 4 and silent.head.num_classes == NUM_CLASSES  # measured
    clip = partly_void_clip()
    own, fallback = model([clip]), silent([clip])  # SegFormerHead's own is that cross entropy
    assert set(own) == set(fallback) == {"loss_sem_seg", "loss_video"}
    for name, loss in own.items():
        torch.testing.assert_close(fallback[name], loss)
