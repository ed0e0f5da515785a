"""Masks whose class stands in a channel, beside an instance, or as a colour: read, and told."""

import re

import cv2
import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import (
    ClipMapper,
    Dataset,
    LabelMapping,
    draw_training_clip,
    read_mask,
    register_video_folder,
)
from cffm_plugin.data.datasets.label_arguments import (
    check_encoding,
    check_mapping,
    check_void,
    make_label_mapping,
)
from cffm_plugin.data.mask_encoding import PLAIN, MaskEncoding
from cffm_plugin.doctor import check_dataset
from cffm_plugin.evaluation import score_predictions

CLASSES = ("road", "car", "person")
LABELS = np.array([[0, 1, 2], [1, 2, 255]], np.uint8)  # what all of these masks say


def colours(*table):
    return np.array(table, np.uint8)[np.where(LABELS == 255, 3, LABELS)]


def class_and_instance(base):
    """Cars and people have instances 1 and 2; nobody has one."""
    large = LABELS.astype(np.uint16) * base + np.array([[0, 1, 2], [2, 1, 0]], np.uint16)
    return np.where(LABELS == 255, 0, large)


VPS = np.where(LABELS == 255, 255, np.where(LABELS == 0, 7, LABELS * np.uint16(1000) + 23001))
KITTI = np.stack([LABELS, LABELS * 0 + 3, LABELS + 9], axis=-1)
BDD = np.dstack([np.where(LABELS == 255, 0, LABELS + 1), LABELS * 0, LABELS * 0 + 2, LABELS + 7])
TABLE = ((128, 64, 128), (0, 0, 142), (220, 20, 60), (0, 0, 0))
BY_COLOR = {"#804080": "road", "#00008E": "car", "#dc143c": "person"}
IDS = {7: "road", 24: "car", 25: "person"}
VIPSEG = np.where(LABELS == 255, 0, np.where(LABELS == 0, 124, LABELS * np.uint16(100) + 400))

SAID = {
    "KITTI-STEP, RGB": (KITTI, {"mask_values": {"channel": "R"}}),
    "BDD100K's tracks, RGBA": (
        BDD.astype(np.uint8),
        {"mask_values": {"channel": "R"}, "label_mapping": "from_1"},
    ),
    "a colour each": (colours(*TABLE), {"label_mapping": BY_COLOR, "void": ["#000000"]}),
    "instanceIds of Cityscapes, 16 bits": (
        VPS.astype(np.uint16),
        {"mask_values": {"divide": 1000, "divide_from": 256}, "label_mapping": IDS},
    ),
    "VIPSeg, 16 bits": (
        VIPSEG.astype(np.uint16),
        {
            "mask_values": {"divide": 100, "divide_from": 256},
            "label_mapping": {124: "road", 5: "car", 6: "person"},
            "void": [0, 200, 255],
        },
    ),
    "16 bits of small values": (LABELS.astype(np.uint16), {"mask_values": {"divide": 1}}),
}


def mapping_of(mask_values=None, label_mapping=None, void=None):
    said = check_mapping(label_mapping), check_void(void), check_encoding(mask_values)
    return make_label_mapping(CLASSES, *said)


@pytest.fixture(params=SAID)
def mask(request, tmp_path):
    """A file of a mask, and what a YAML file says of it."""
    pixels, said = SAID[request.param]
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png", said


def test_what_the_yaml_says_is_what_is_read(mask):
    file, said = mask
    mapping = mapping_of(**said)
    raw = mapping.read(file)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(mapping(raw), LABELS)
    assert mapping.foreign_values(raw) == []


def test_a_program_that_makes_pngs_smaller_changes_nothing(tmp_path):
    """It writes few colours as a palette, and a grey picture of three channels as one."""
    for name in ("a colour each", "KITTI-STEP, RGB"):
        pixels, said = SAID[name]
        small = Image.fromarray(pixels).quantize(16)
        np.testing.assert_array_equal(np.asarray(small.convert("RGB")), pixels)
        small.save(tmp_path / "mask.png")
        mapping = mapping_of(**said)
        np.testing.assert_array_equal(mapping(mapping.read(tmp_path / "mask.png")), LABELS)
    Image.fromarray(LABELS).save(tmp_path / "grey.png")
    mapping = mapping_of({"channel": "R"})
    np.testing.assert_array_equal(mapping(mapping.read(tmp_path / "grey.png")), LABELS)


def test_colours_that_nobody_has_named_are_foreign_and_called_so(tmp_path):
    table = (*TABLE[:3], (1, 2, 3))
    Image.fromarray(colours(*table)).save(tmp_path / "mask.png")
    mapping = mapping_of(label_mapping=BY_COLOR)
    raw = mapping.read(tmp_path / "mask.png")
    assert [mapping.encoding.name_of(v) for v in mapping.foreign_values(raw)] == ["another colour"]
    np.testing.assert_array_equal(mapping(raw), LABELS)
    see_through = np.dstack([colours(*TABLE), np.where(LABELS == 1, 0, 255).astype(np.uint8)])
    Image.fromarray(see_through).save(tmp_path / "mask.png")
    labels = mapping(mapping.read(tmp_path / "mask.png"))
    np.testing.assert_array_equal(labels, np.where(LABELS == 1, 255, LABELS))


def read_error(file, encoding=PLAIN):
    with pytest.raises(ValueError) as error:
        read_mask(file, encoding=encoding)
    assert str(file) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", SAID)
def test_the_error_on_such_a_mask_shows_first_what_to_write(tmp_path, name):
    """For these it is what was written in ``SAID``, but classes, which only a person knows."""
    pixels, said = SAID[name]
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    message = read_error(tmp_path / "mask.png")
    shown = yaml.safe_load(re.search(r"(?:mask_values|label_mapping): {.*?}", message)[0])
    if name == "a colour each":
        named = {key.lower() for key in (*said["label_mapping"], *said["void"])}
        assert shown["label_mapping"] == dict.fromkeys(named, "CLASS")
    else:
        assert shown["mask_values"] == said["mask_values"]


@pytest.mark.parametrize("base", [100, 1000])
def test_the_factor_whose_rests_look_like_instances_is_shown_first(tmp_path, base):
    Image.fromarray(class_and_instance(base)).save(tmp_path / "mask.png")
    message = read_error(tmp_path / "mask.png")
    if base == 1000:  # 100 explains these too: classes 10 and 20, instances 1 and 2
        assert message.index("{divide: 1000}") < message.index("{divide: 100}")
    # Largest 2 * 100 + 2: all fit into 8 bits, and what they are can't be told.
    assert ("fit into 8" in message) == (base == 100)


def test_pictures_that_can_not_be_what_was_said_are_refused(tmp_path):
    file = tmp_path / "mask.png"
    Image.fromarray(LABELS).save(file)
    assert "channel A" in read_error(file, MaskEncoding(channel="A"))  # there is none
    Image.fromarray(LABELS.astype(np.uint16)).save(file)
    assert "channel R" in read_error(file, MaskEncoding(channel="R"))
    cv2.imwrite(str(file), np.stack([LABELS.astype(np.uint16)] * 3, axis=-1))
    assert "channel R" in read_error(file, MaskEncoding(channel="R"))  # high bytes alone
    Image.fromarray(np.full((2, 2), 60_000, np.uint16)).save(file)
    assert "up to 600" in read_error(file, MaskEncoding(divide=100))


def test_mappings_of_other_encodings_differ():
    plain, channel = mapping_of(), mapping_of({"channel": "R"})
    assert plain != channel and plain == LabelMapping(3, {0: 0, 1: 1, 2: 2})


def test_training_the_doctor_and_scoring_read_the_same(mask, tmp_path, forget_datasets):
    file, said = mask
    video = tmp_path / "mine" / "a"
    (tmp_path / "predictions" / "a").mkdir(parents=True)
    for folder in ("frames", "masks"):
        (video / folder).mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(video / "frames" / f"{index}.png")
        (video / "masks" / f"{index}.png").write_bytes(file.read_bytes())
        predicted = np.where(LABELS == 255, 0, LABELS)  # right wherever there is a class
        Image.fromarray(predicted).save(tmp_path / "predictions" / "a" / f"{index}.png")
    for name, is_train in (("cffm_test_said", True), ("cffm_test_said_val", False)):
        register_video_folder(name, tmp_path / "mine", CLASSES, is_train=is_train, **said)
    mapping = MetadataCatalog.get("cffm_test_said").label_mapping
    mapper = ClipMapper(is_train=True, augmentations=[], label_mapping=mapping)
    clip = draw_training_clip(DatasetCatalog.get("cffm_test_said")[0], (-2, -1))
    np.testing.assert_array_equal(mapper(clip)["sem_seg"][-1].numpy(), LABELS)
    report = check_dataset([Dataset.registered("cffm_test_said")], offsets=(-1,), jobs=1)
    assert [f for f in report.findings if f.kind != "labels_from_zero"] == []
    # Of six pixels, one is road, two are car, two person, and one is nothing.
    expected = {"road": 1 / 6, "car": 2 / 6, "person": 2 / 6, "no class": 1 / 6}
    assert report.shares["cffm_test_said"] == pytest.approx(expected)
    scores = score_predictions(Dataset.registered("cffm_test_said_val"), tmp_path / "predictions")
    assert scores.all_videos.miou == 1
