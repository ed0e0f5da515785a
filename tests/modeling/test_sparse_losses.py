"""Training on clips of which only some frames are labelled."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from detectron2.modeling import SemanticSegmentor
from tiny_models import NUM_CLASSES, make_clip, make_parts

from cffm_plugin import CFFM
from cffm_plugin.data import (
    ClipMapper,
    LabelMapping,
    build_clip_train_loader,
    register_video_folder,
)
from cffm_plugin.modeling import CFFMSegmentor, TemporalHead

SIZE = (32, 48)
UNLABELLED_REFERENCES = [(0,), (1, 2), (0, 1, 2)]


def without_chance(model):
    """The model in training, as a function of its input: no dropout, no stochastic depth."""
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    return model.train()


def make_segmentor(temporal=True):
    parts = make_parts()
    head = (
        TemporalHead(CFFM(32, 1, num_heads=4), num_classes=NUM_CLASSES, output="classifier")
        if temporal
        else None
    )
    return without_chance(
        CFFMSegmentor(**parts, temporal=head, image_loss_weight=0.5, video_loss_weight=1.0)
    )


def unlabel(clip, frames):
    """The clip without the labels of some frames."""
    labels = [None if i in frames else label for i, label in enumerate(clip["sem_seg"])]
    return clip | {"sem_seg": labels}


def losses_by_hand(model, clips):
    """Both losses from the model's parts and torch's own cross entropy, unweighted.

    The sums are over the pixels of the labelled frames that are not void; they are divided by all
    pixels of the labelled frames.
    """
    images = torch.stack([frame.float() for clip in clips for frame in clip["image"]])
    images = (images - model.pixel_mean) / model.pixel_std
    embedding, _ = model.sem_seg_head.embed(model.backbone(images))  # (B * 4, C, h, w)
    image_logits = model.sem_seg_head.predictor(embedding)
    cells = F.interpolate(embedding, scale_factor=0.5, mode="bilinear").unflatten(0, (-1, 4))
    refined = model.temporal.module(cells)
    video_logits = model.temporal.output.classifier(torch.cat([cells[:, -1], refined], dim=1))
    video_logits = F.interpolate(video_logits, scale_factor=2, mode="bilinear")

    def mean_cross_entropy(pairs):
        total, pixels = torch.zeros(()), 0
        for logits, label in pairs:
            logits = F.interpolate(logits[None], size=label.shape, mode="bilinear")
            total += F.cross_entropy(logits, label[None], ignore_index=255, reduction="sum")
            pixels += label.numel()
        return total / pixels

    labels = [label for clip in clips for label in clip["sem_seg"]]
    of_frames = [(x, label) for x, label in zip(image_logits, labels) if label is not None]
    return {
        "loss_sem_seg": mean_cross_entropy(of_frames),
        "loss_video": mean_cross_entropy(zip(video_logits, labels[3::4])),
    }


def assert_losses(model, clips):
    expected = losses_by_hand(model, clips)
    losses = model(clips)
    assert losses.keys() == expected.keys()
    torch.testing.assert_close(losses["loss_sem_seg"], 0.5 * expected["loss_sem_seg"])
    torch.testing.assert_close(losses["loss_video"], expected["loss_video"])


@pytest.mark.usefixtures("forget_datasets")
def test_losses_on_a_dataset_with_every_third_frame_labelled_are_those_by_hand(
    tmp_path, write_vspw
):
    # Frames 0, 3, 6, ... keep their masks; frame 10 of the second video has one too.
    root = write_vspw(tmp_path, {"train": {"a": 20, "b": 20}}, SIZE)
    for video, kept in (("a", ()), ("b", (10,))):
        for index in range(20):
            if index % 3 and index not in kept:
                (root / "data" / video / "mask" / f"{index:08d}.png").unlink()
    register_video_folder(
        "cffm_test_sparse",
        root / "data",
        [f"class {k}" for k in range(NUM_CLASSES)],
        is_train=True,
        frames="{video}/origin/{frame}",
        masks="{video}/mask/{frame}",
        label_mapping={k + 1: k for k in range(NUM_CLASSES)},
        void=(0, 255),
    )
    loader = build_clip_train_loader(
        DatasetCatalog.get("cffm_test_sparse"),
        mapper=ClipMapper(
            is_train=True, augmentations=[], label_mapping=LabelMapping.shifted_by_one(NUM_CLASSES)
        ),
        total_batch_size=2,  # one clip of each video
        frame_offsets=(-4, -3, -2),
        seed=0,
    )
    model = make_segmentor()
    seen = set()
    for clips, _ in zip(loader, range(12)):
        for clip in clips:
            labelled = {
                index
                for index, label in zip(clip["frame_indices"], clip["sem_seg"])
                if label is not None
            }
            with_masks = {i for i in range(20) if i % 3 == 0} | (
                {10} if clip["video_id"] == "b" else set()
            )
            assert labelled == with_masks & set(clip["frame_indices"])
            assert clip["sem_seg"][-1] is not None
        numbers = tuple(sum(label is not None for label in clip["sem_seg"]) for clip in clips)
        if numbers not in seen:
            assert_losses(model, clips)
        seen.add(numbers)
    assert (2, 2) in seen and any(one != other for one, other in seen)


@pytest.mark.parametrize("frames", UNLABELLED_REFERENCES)
def test_an_unlabelled_frame_counts_nowhere_but_a_void_one_in_the_denominator(frames):
    clip = make_clip(SIZE, labels=True)
    clip["sem_seg"][3][:5] = 255
    void = [torch.full(SIZE, 255) if i in frames else x for i, x in enumerate(clip["sem_seg"])]
    model = make_segmentor()
    assert_losses(model, [unlabel(clip, frames)])
    unlabelled, all_void = model([unlabel(clip, frames)]), model([clip | {"sem_seg": void}])
    # The same sum over 4 - n frames and over 4 frames.
    ratio = 4 / (4 - len(frames))
    torch.testing.assert_close(unlabelled["loss_sem_seg"], ratio * all_void["loss_sem_seg"])
    assert torch.equal(unlabelled["loss_video"], all_void["loss_video"])


def test_every_labelled_frame_of_a_batch_has_the_same_weight():
    # Three labelled frames, two and one: the mean is over six.
    clips = [unlabel(make_clip(SIZE, labels=True), f) for f in ((1,), (0, 2), (0, 1, 2))]
    clips[2]["sem_seg"][3][:] = 255  # labelled, as void
    assert_losses(make_segmentor(), clips)


def test_an_unlabelled_frame_still_helps_its_target():
    clip = unlabel(make_clip(SIZE, labels=True), (0, 1, 2))
    model = make_segmentor()
    clip["image"] = [frame.requires_grad_() for frame in clip["image"]]
    model([clip])["loss_video"].backward()
    assert all(frame.grad.abs().sum() > 0 for frame in clip["image"])


def test_the_image_segmentor_is_trained_on_the_labelled_frames_alone():
    clips = [unlabel(make_clip(SIZE, labels=True), frames) for frames in ((0, 2), (0, 1, 2))]
    images = [
        {"image": image, "sem_seg": label}
        for clip in clips
        for image, label in zip(clip["image"], clip["sem_seg"])
        if label is not None
    ]
    assert len(images) == 3
    ours = make_segmentor(temporal=False)
    plain = without_chance(SemanticSegmentor(**make_parts()))
    assert torch.equal(ours(clips)["loss_sem_seg"], plain(images)["loss_sem_seg"])


@pytest.mark.parametrize("temporal", [True, False])
def test_a_target_without_labels_and_a_frame_that_says_nothing_are_errors(temporal):
    clip = make_clip(SIZE, labels=True, video_id="clip_7")
    with pytest.raises(ValueError, match=r"clip_7.*never None for the last one, the target.*None"):
        make_segmentor(temporal)([unlabel(clip, (3,))])
    clip["sem_seg"] = clip["sem_seg"][1:]
    with pytest.raises(ValueError, match=r"label map, or None, for each of the 4 frames.*clip_7"):
        make_segmentor(temporal)([clip])
