"""ClipMapper: from a record to what the model takes."""

import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from cffm_plugin.config import load_config
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
    random.seed(0)
    np.random.seed(0)


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
    assert set(clip) == {
        "image",
        "sem_seg",
        "video_id",
        "frame_indices",
        "file_names",
        "height",
        "width",
    }
    assert len(clip["image"]) == len(clip["sem_seg"]) == len(clip["frame_indices"]) == 4
    for image, labels in zip(clip["image"], clip["sem_seg"]):
        assert image.shape == (3, 32, 32) and image.dtype in (torch.uint8, torch.float32)
        assert labels.shape == (32, 32) and labels.dtype == torch.int64
        assert image.is_contiguous() and labels.is_contiguous()
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3, 255}
    assert (clip["video_id"], clip["height"], clip["width"]) == ("t0", 48, 64)


def test_without_augmentation_frames_and_labels_are_those_of_the_files(video):
    for _ in range(5):
        clip = plain()(draw(video))
        assert abs(clip["frame_indices"][-1] - clip["frame_indices"][0]) == 9
        for index, name, image, labels in zip(
            clip["frame_indices"], clip["file_names"], clip["image"], clip["sem_seg"]
        ):
            assert name == video["frames"][index]["file_name"]
            assert torch.equal(image, as_tensor(name))
            raw = read_mask(video["frames"][index]["sem_seg_file_name"]).astype(int)
            expected = np.where((raw == 0) | (raw == 255), 255, raw - 1)
            np.testing.assert_array_equal(labels, expected)


def test_clips_run_in_both_directions_of_time(video):
    directions = {np.sign(np.diff(plain()(draw(video))["frame_indices"])).sum() for _ in range(20)}
    assert directions == {3, -3}


def test_the_channel_order_is_that_of_the_image_format(video):
    random.seed(3)
    rgb = plain(image_format="RGB")(draw(video))
    random.seed(3)
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


def test_a_clip_is_a_function_of_the_global_random_state(tiny_cfg, video):
    mapper = ClipMapper(tiny_cfg, is_train=True)
    clips = []
    for _ in range(2):
        random.seed(5)
        np.random.seed(5)
        clips.append(mapper(draw(video)))
    assert clips[0]["frame_indices"] == clips[1]["frame_indices"]
    assert all(torch.equal(a, b) for a, b in zip(clips[0]["image"], clips[1]["image"]))


def test_the_image_baseline_trains_on_the_same_clips(tiny_cfg, video):
    clips = []
    for enabled in (True, False):
        tiny_cfg.MODEL.TEMPORAL.ENABLED = enabled
        random.seed(5)
        np.random.seed(5)
        clips.append(ClipMapper(tiny_cfg, is_train=True)(video))
    for key in ("image", "sem_seg"):
        assert all(torch.equal(a, b) for a, b in zip(clips[0][key], clips[1][key]))


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


def test_foreign_values_become_void(video):
    spoil_masks(video, add_foreign_values)
    for labels in plain()(draw(video))["sem_seg"]:
        assert (labels[0, 5:7] == 255).all() and labels[1, 5] == 255


def test_foreign_values_are_warned_of_once_per_video_with_file_and_values(tiny_vspw, caplog):
    videos = DatasetCatalog.get(tiny_vspw.train)[:2]
    for video in videos:
        spoil_masks(video, add_foreign_values)
    mapper = plain()
    with caplog.at_level(logging.WARNING):
        for video in videos * 3:
            mapper(video)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    for message, video in zip(messages, videos):
        assert any(frame["sem_seg_file_name"] in message for frame in video["frames"])
        assert "9, 252" in message


def test_clean_masks_are_not_warned_of(video, caplog):
    plain()(draw(video))
    assert not caplog.records


def test_a_mask_of_another_size_than_its_frame_is_refused_with_both_files_and_sizes(video):
    spoil_masks(video, lambda raw: raw[:-1, :-2])
    with pytest.raises(ValueError, match=r"origin/.*\.jpg is 64x48 and .*mask/.*\.png is 62x47"):
        plain()(draw(video))


def test_a_colour_mask_is_refused(video):
    spoil_masks(video, lambda raw: np.stack([raw] * 3, axis=-1))
    with pytest.raises(ValueError, match=r"mask/.*\.png: expected an index mask"):
        plain()(draw(video))


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
        random.seed(5)
        np.random.seed(5)
        clip = draw(without_masks(video, labelled), reverse_prob=0.0)
        clips.append(ClipMapper(tiny_cfg, is_train=True)(clip))
    full, sparse = clips
    assert full["frame_indices"] == sparse["frame_indices"] == [0, 3, 6, 9]
    assert all(torch.equal(a, b) for a, b in zip(full["image"], sparse["image"]))
    assert sparse["sem_seg"][:2] == [None, None]
    assert all(torch.equal(a, b) for a, b in zip(full["sem_seg"][2:], sparse["sem_seg"][2:]))


def test_a_truncated_frame_is_named(video):
    for frame in video["frames"]:
        path = Path(frame["file_name"])
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"origin/.*\.jpg.*damaged"):
        plain()(draw(video))


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
    record = frames[10]
    clip = plain(is_train=False)(record)
    expected = [*record["reference_file_names"], record["file_name"]]
    assert expected == [frames[i]["file_name"] for i in (1, 4, 7, 10)]
    assert all(torch.equal(image, as_tensor(f)) for image, f in zip(clip["image"], expected))


def test_the_first_frames_of_a_video_come_alone(tiny_cfg, frames):
    mapper = ClipMapper(tiny_cfg, is_train=False)
    assert [len(mapper(record)["image"]) for record in frames[:4]] == [1, 1, 1, 4]


def test_a_test_record_without_references_is_the_target_alone(tiny_cfg, tiny_vspw):
    record = DatasetCatalog.get(tiny_vspw.val)[11]
    assert len(ClipMapper(tiny_cfg, is_train=False)(record)["image"]) == 1


def test_the_size_is_that_of_the_targets_own_file(tiny_cfg, frames):
    Image.fromarray(np.zeros((60, 64, 3), np.uint8)).save(frames[11]["file_name"])
    clip = ClipMapper(tiny_cfg, is_train=False)(frames[11])
    assert (clip["height"], clip["width"]) == (60, 64)
    # All frames of a clip come at the target's network input size.
    assert len({image.shape for image in clip["image"]}) == 1


def test_a_test_record_without_a_mask_is_fine(tiny_cfg, frames):
    frames[11]["sem_seg_file_name"] = None
    assert ClipMapper(tiny_cfg, is_train=False)(frames[11])["sem_seg_file_name"] is None


def test_the_test_size_follows_the_config(tiny_cfg, frames):
    tiny_cfg.INPUT.CLIP.FIT_SIZE = (40, 40)
    tiny_cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 4
    # 64x48 fits into 40x40 as 40x30; 30 goes up to 32.
    image = ClipMapper(tiny_cfg, is_train=False)(frames[0])["image"][0]
    assert image.shape == (3, 32, 40)
    tiny_cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY = 0
    assert ClipMapper(tiny_cfg, is_train=False)(frames[0])["image"][0].shape == (3, 30, 40)


# Construction


def test_it_can_be_built_from_plain_python(frames):
    mapper = ClipMapper(
        is_train=False, augmentations=inference_augmentations(fit_size=(32, 24), divisor=8)
    )
    assert mapper(frames[5])["image"][0].shape == (3, 24, 32)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="RGBA"):
        plain(image_format="RGBA")
    with pytest.raises(ValueError, match="label_mapping"):
        plain(label_mapping=None)


def test_the_models_number_of_classes_must_be_the_datasets(tiny_cfg, tiny_vspw):
    tiny_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 54
    with pytest.raises(ValueError, match=rf"{tiny_vspw.train} has 4 classes.*NUM_CLASSES is 54"):
        ClipMapper(tiny_cfg, is_train=True)


def test_a_dataset_must_say_what_its_mask_values_mean(tiny_cfg):
    MetadataCatalog.get("cffm_test_mapper").stuff_classes = ["x"]
    try:
        with pytest.raises(ValueError, match=r"cffm_test_mapper.*label_mapping"):
            ClipMapper(tiny_cfg, is_train=True, dataset_name="cffm_test_mapper")
    finally:
        MetadataCatalog.remove("cffm_test_mapper")


def test_datasets_with_different_mappings_cannot_be_trained_on_together(tiny_cfg, tiny_vspw):
    mapping = LabelMapping(4, {k: k for k in range(4)})
    MetadataCatalog.get("cffm_test_mapper").label_mapping = mapping
    tiny_cfg.DATASETS.TRAIN = (tiny_vspw.train, "cffm_test_mapper")
    try:
        with pytest.raises(ValueError, match="different classes"):
            ClipMapper(tiny_cfg, is_train=True)
    finally:
        MetadataCatalog.remove("cffm_test_mapper")


def test_training_datasets_must_be_named():
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        ClipMapper(load_config(), is_train=True)


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


@pytest.mark.parametrize("value", [3, 256, -100])
def test_a_value_for_no_class_that_can_not_be_one_is_refused_by_its_key(tiny_cfg, value):
    tiny_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = value
    with pytest.raises(ValueError, match=rf"SEM_SEG_HEAD\.IGNORE_VALUE .*is {value}.*4 to 255"):
        ClipMapper(tiny_cfg, is_train=True)


def test_a_loss_does_not_depend_on_the_value_for_no_class(tiny_cffm_cfg, video):
    losses = []
    for value in (255, 200):
        tiny_cffm_cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = value
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        clip = ClipMapper(tiny_cffm_cfg, is_train=True)(draw(video))
        assert (clip["sem_seg"][-1] == value).any()
        losses.append(build_model(tiny_cffm_cfg)([clip]))
    usual, other = losses
    assert usual.keys() == other.keys()
    assert all(torch.equal(usual[name], other[name]) for name in usual)
