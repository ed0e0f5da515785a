"""ClipMapper: from a record to what the model takes."""

import random

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from cffm_plugin.data import (
    ClipMapper,
    LabelMapping,
    draw_training_clip,
    read_image,
    read_mask,
    with_references,
)
from cffm_plugin.data.augmentation import inference_augmentations

OFFSETS = (-9, -6, -3)


@pytest.fixture(autouse=True)
def seeded():
    seed_all()


def seed_all(seed=0):
    random.seed(seed)
    np.random.seed(seed)


@pytest.fixture
def video(tiny_vspw):
    return DatasetCatalog.get(tiny_vspw.train)[0]


@pytest.fixture
def frames(tiny_vspw):
    """The test records of a video of 12 frames, with references."""
    return list(with_references(DatasetCatalog.get(tiny_vspw.val)[:12], OFFSETS))


def draw(video, offsets=OFFSETS, reverse_prob=0.5):
    return draw_training_clip(video, offsets, reverse_prob)


def plain(is_train=True, **kwargs):
    """A mapper without augmentation, for four classes."""
    mapping = LabelMapping.shifted_by_one(4)
    return ClipMapper(is_train=is_train, **{"augmentations": [], "label_mapping": mapping} | kwargs)


def as_tensor(file_name):
    """(3, H, W), red green blue."""
    return torch.from_numpy(read_image(file_name)[:, :, ::-1].copy()).permute(2, 0, 1)


# Training


def test_a_training_clip_has_what_the_model_takes(tiny_cfg, video):
    clip = ClipMapper(tiny_cfg, is_train=True)(draw(video))
    keys = "image sem_seg video_id frame_indices file_names height width"
    assert sorted(clip) == sorted(keys.split())
    assert len(clip["image"]) == len(clip["sem_seg"]) == len(clip["frame_indices"]) == 4
    for image, labels in zip(clip["image"], clip["sem_seg"]):
        assert image.shape == (3, 32, 32) and image.dtype in (torch.uint8, torch.float32)
        assert labels.shape == (32, 32) and labels.dtype == torch.int64
        assert image.is_contiguous() and labels.is_contiguous()
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3, 255}
    assert (clip["video_id"], clip["height"], clip["width"]) == ("t0", 48, 64)


def test_without_augmentation_frames_and_labels_are_those_of_the_files_in_either_direction(
    video, caplog
):
    directions = set()
    for _ in range(20):
        clip = plain()(draw(video))
        directions.add(clip["frame_indices"][-1] - clip["frame_indices"][0])
        for index, name, image, labels in zip(
            clip["frame_indices"], clip["file_names"], clip["image"], clip["sem_seg"]
        ):
            assert name == video["frames"][index]["file_name"]
            assert torch.equal(image, as_tensor(name))
            raw = read_mask(video["frames"][index]["sem_seg_file_name"]).astype(int)
            expected = np.where((raw == 0) | (raw == 255), 255, raw - 1)
            np.testing.assert_array_equal(labels, expected)
    assert directions == {9, -9}
    assert not caplog.records  # clean masks are not warned of


def test_the_channel_order_is_that_of_the_image_format(video):
    rgb = plain(image_format="RGB")(draw(video))
    seed_all()
    bgr = plain(image_format="BGR")(draw(video))
    assert rgb["frame_indices"] == bgr["frame_indices"]
    for one, other in zip(rgb["image"], bgr["image"]):
        assert torch.equal(one, other.flip(0))


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_padding_is_exactly_zero_for_the_model(tiny_cfg, video, image_format):
    tiny_cfg.INPUT.FORMAT = image_format
    tiny_cfg.INPUT.CROP.SIZE = [160, 160]  # larger than any frame of at most 96x128
    mean = torch.tensor(tiny_cfg.MODEL.PIXEL_MEAN).view(3, 1, 1)
    clip = ClipMapper(tiny_cfg, is_train=True)(draw(video))
    for image, labels in zip(clip["image"], clip["sem_seg"]):
        assert image.shape == (3, 160, 160)
        assert ((image - mean)[:, 96:] == 0).all() and ((image - mean)[:, :, 128:] == 0).all()
        assert (labels[96:] == 255).all() and (labels[:, 128:] == 255).all()


def test_frames_differ_in_colour_but_not_in_geometry(tiny_cfg, video):
    # All frames are the same file, so that only the augmentation tells them apart.
    video["frames"] = [video["frames"][0]] * 12
    differing = 0
    for _ in range(10):
        clip = ClipMapper(tiny_cfg, is_train=True)(draw(video))
        assert all(torch.equal(labels, clip["sem_seg"][-1]) for labels in clip["sem_seg"])
        differing += sum(not torch.equal(image, clip["image"][-1]) for image in clip["image"][:-1])
    assert differing >= 25  # of 30; equal ones need both frames undistorted, 1 in 256


def test_a_clip_is_a_function_of_the_global_random_state_also_for_the_image_baseline(
    tiny_cfg, video
):
    clips = []
    for enabled in (True, True, False):
        tiny_cfg.MODEL.TEMPORAL.ENABLED = enabled
        seed_all(5)
        clips.append(ClipMapper(tiny_cfg, is_train=True)(draw(video)))
    for other in clips[1:]:
        assert clips[0]["frame_indices"] == other["frame_indices"]
        for key in ("image", "sem_seg"):
            assert all(torch.equal(a, b) for a, b in zip(clips[0][key], other[key]))


def test_without_a_crop_nothing_is_padded(tiny_cfg, video):
    tiny_cfg.INPUT.CROP.ENABLED = False
    tiny_cfg.INPUT.CLIP.RATIO_RANGE = (1.0, 1.0)
    clip = ClipMapper(tiny_cfg, is_train=True)(draw(video))
    assert all(image.shape == (3, 48, 64) for image in clip["image"])


# Labels that are not what they should be


def spoil_masks(video, change):
    for frame in video["frames"]:
        raw = read_mask(frame["sem_seg_file_name"])
        Image.fromarray(change(raw)).save(frame["sem_seg_file_name"])


def add_foreign_values(raw):
    raw[0, 5:7] = 252
    raw[1, 5] = 9
    return raw


def test_foreign_values_become_void_and_are_warned_of_once_per_video(tiny_vspw, caplog):
    videos = DatasetCatalog.get(tiny_vspw.train)[:2]
    for video in videos:
        spoil_masks(video, add_foreign_values)
    mapper = plain()
    for video in videos * 3:
        for labels in mapper(draw(video))["sem_seg"]:
            assert (labels[0, 5:7] == 255).all() and labels[1, 5] == 255
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    for message, video in zip(messages, videos):
        assert any(frame["sem_seg_file_name"] in message for frame in video["frames"])
        assert "9, 252" in message


def test_a_video_without_masks_cannot_be_trained_on(video):
    for frame in video["frames"]:
        frame["sem_seg_file_name"] = None
    with pytest.raises(ValueError, match=r"Video t0, .*\.jpg: training needs a mask"):
        plain()(draw(video))


def without_masks(video, labelled):
    """The video with masks on the frames ``labelled`` alone."""
    frames = [
        frame if i in labelled else frame | {"sem_seg_file_name": None}
        for i, frame in enumerate(video["frames"])
    ]
    return video | {"frames": frames}


def test_frames_without_a_mask_have_no_labels_and_are_no_targets(video):
    # 12 frames with masks on 0, 3, 6 and 9. Offsets -4 and -3: of the references, -3 is labelled.
    video = without_masks(video, (0, 3, 6, 9))
    targets = set()
    for _ in range(40):
        clip = plain()(draw(video, (-4, -3)))
        assert [labels is None for labels in clip["sem_seg"]] == [True, False, False]
        for index, labels in zip(clip["frame_indices"], clip["sem_seg"]):
            if labels is not None:
                raw = read_mask(video["frames"][index]["sem_seg_file_name"]).astype(int)
                np.testing.assert_array_equal(labels, np.where(raw == 0, 255, raw - 1))
        targets.add(clip["frame_indices"][-1])
    assert targets == {0, 3, 6, 9}  # 0 and 3 in clips reversed in time


def test_missing_masks_of_references_change_nothing_but_their_labels(tiny_cfg, video):
    # Frame 9 is the one forward target; backward there is none that is labelled.
    clips = []
    for labelled in ((0, 3, 6, 9), (6, 9)):
        seed_all(5)
        clip = draw(without_masks(video, labelled), reverse_prob=0.0)
        clips.append(ClipMapper(tiny_cfg, is_train=True)(clip))
    full, sparse = clips
    assert full["frame_indices"] == sparse["frame_indices"] == [0, 3, 6, 9]
    assert all(torch.equal(a, b) for a, b in zip(full["image"], sparse["image"]))
    assert sparse["sem_seg"][:2] == [None, None]
    assert all(torch.equal(a, b) for a, b in zip(full["sem_seg"][2:], sparse["sem_seg"][2:]))


# Test


def test_a_test_clip_is_the_references_and_the_target_with_the_records_own_keys(tiny_cfg, frames):
    record = frames[11]
    clip = ClipMapper(tiny_cfg, is_train=False)(record)
    assert {key: clip[key] for key in record} == record
    assert set(clip) == {*record, "image"}
    assert len(clip["image"]) == 4
    for image in clip["image"]:
        assert image.shape == (3, 64, 64)  # fits 64x48 as it is; 48 goes up to 64
        assert image.dtype == torch.uint8


def test_test_frames_come_oldest_first_and_the_target_last(frames):
    record = frames[10] | {"sem_seg_file_name": None}  # a mask is not needed
    clip = plain(is_train=False)(record)
    expected = [*record["reference_file_names"], record["file_name"]]
    assert expected == [frames[i]["file_name"] for i in (1, 4, 7, 10)]
    assert all(torch.equal(image, as_tensor(f)) for image, f in zip(clip["image"], expected))


def test_the_first_frames_of_a_video_come_alone_and_so_does_a_record_without_references(
    tiny_cfg, tiny_vspw, frames
):
    mapper = ClipMapper(tiny_cfg, is_train=False)
    records = [*frames[:4], DatasetCatalog.get(tiny_vspw.val)[11]]
    assert [len(mapper(record)["image"]) for record in records] == [1, 1, 1, 4, 1]


def test_the_size_is_that_of_the_targets_own_file(tiny_cfg, frames):
    Image.fromarray(np.zeros((60, 64, 3), np.uint8)).save(frames[11]["file_name"])
    clip = ClipMapper(tiny_cfg, is_train=False)(frames[11])
    assert (clip["height"], clip["width"]) == (60, 64)
    # All frames of a clip come at the target's network input size.
    assert len({image.shape for image in clip["image"]}) == 1


def test_the_test_size_follows_the_config(tiny_cfg, frames):
    tiny_cfg.INPUT.CLIP.FIT_SIZE = (40, 40)
    tiny_cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 4
    # 64x48 fits into 40x40 as 40x30; 30 goes up to 32.
    image = ClipMapper(tiny_cfg, is_train=False)(frames[0])["image"][0]
    assert image.shape == (3, 32, 40)
    tiny_cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 0
    assert ClipMapper(tiny_cfg, is_train=False)(frames[0])["image"][0].shape == (3, 30, 40)


# Construction


def test_it_can_be_built_from_plain_python_and_refuses_impossible_arguments(frames):
    mapper = ClipMapper(
        is_train=False, augmentations=inference_augmentations(fit_size=(32, 24), divisor=8)
    )
    assert mapper(frames[5])["image"][0].shape == (3, 24, 32)
    for arguments in ({"image_format": "RGBA"}, {"label_mapping": None}):
        with pytest.raises(ValueError, match="RGBA|label_mapping"):
            plain(**arguments)


def set_ignore_value(value):
    return lambda cfg: setattr(cfg.MODEL.SEM_SEG_HEAD, "IGNORE_VALUE", value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda cfg: setattr(cfg.MODEL.SEM_SEG_HEAD, "NUM_CLASSES", 54),
            "tiny_vspw_train has 4 classes.*NUM_CLASSES is 54",
        ),
        (
            lambda cfg: setattr(cfg.DATASETS, "TRAIN", ("cffm_test_unmapped",)),
            "cffm_test_unmapped.*label_mapping",
        ),
        (
            lambda cfg: setattr(cfg.DATASETS, "TRAIN", ("tiny_vspw_train", "cffm_test_other")),
            "different classes",
        ),
        (lambda cfg: setattr(cfg.DATASETS, "TRAIN", ()), r"DATASETS\.TRAIN is empty"),
        (set_ignore_value(3), r"SEM_SEG_HEAD\.IGNORE_VALUE .*is 3.*4 to 255"),
        (set_ignore_value(256), r"SEM_SEG_HEAD\.IGNORE_VALUE .*is 256.*4 to 255"),
        (set_ignore_value(-100), r"SEM_SEG_HEAD\.IGNORE_VALUE .*is -100.*4 to 255"),
    ],
)
def test_a_config_that_does_not_fit_its_datasets_is_refused(
    tiny_cfg, forget_datasets, change, message
):
    for name in ("unmapped", "other"):
        DatasetCatalog.register(f"cffm_test_{name}", list)
        MetadataCatalog.get(f"cffm_test_{name}").stuff_classes = ["x"]
    MetadataCatalog.get("cffm_test_other").label_mapping = LabelMapping(4, {k: k for k in range(4)})
    change(tiny_cfg)
    with pytest.raises(ValueError, match=message):
        ClipMapper(tiny_cfg, is_train=True)


def test_pixels_without_a_class_have_the_heads_own_value(video):
    clip = draw(video, offsets=())
    usual = plain()(clip)["sem_seg"][0]
    assert (usual == 255).any()  # void
    other = plain(ignore_value=9)(clip)["sem_seg"][0]
    assert torch.equal(other, torch.where(usual == 255, 9, usual))


def test_the_padding_of_a_clip_has_the_heads_own_value_too(tiny_cfg, video):
    tiny_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 200
    tiny_cfg.INPUT.CROP.SIZE = (96, 96)  # beyond the frame
    labels = ClipMapper(tiny_cfg, is_train=True)(draw(video))["sem_seg"]
    values = {v for label in labels for v in label.unique().tolist()}
    assert 200 in values and values <= {0, 1, 2, 3, 200}


def test_a_loss_does_not_depend_on_the_value_for_no_class(tiny_cffm_cfg, video):
    losses = []
    for value in (255, 200):
        tiny_cffm_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = value
        torch.manual_seed(0)
        seed_all()
        clip = ClipMapper(tiny_cffm_cfg, is_train=True)(draw(video))
        assert (clip["sem_seg"][-1] == value).any()
        losses.append(build_model(tiny_cffm_cfg)([clip]))
    usual, other = losses
    assert usual.keys() == other.keys()
    assert all(torch.equal(usual[name], other[name]) for name in usual)
