"""What is odd about the values in masks, told from how often each occurs."""

import logging
import re

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from test_cityscapes_video import SNIPPETS, write_snippet

from cffm_plugin.data import LabelMapping, build_clip_train_loader, register_video_folder
from cffm_plugin.data.label_sanity import (
    check_training_labels,
    histograms_of_masks,
    label_findings,
    sample_masks,
)

CLASSES = ("road", "car", "person")
IDENTITY = LabelMapping(3, {0: 0, 1: 1, 2: 2})


def findings(pixels, mapping=IDENTITY, classes=CLASSES):
    """From value -> pixels to (kind, level) -> message."""
    histogram = np.zeros(256, dtype=np.int64)
    histogram[list(pixels)] = list(pixels.values())
    found = label_findings(histogram, mapping, classes)
    return {(finding.kind, finding.level): finding.message for finding in found}


# One histogram


def test_masks_that_count_from_one_are_an_error_that_shows_the_mapping_to_paste():
    (message,) = findings({1: 50, 2: 30, 3: 20, 255: 5}).values()
    pasted = re.search(r"  (label_mapping: .*\n  void: .*)\n", message)[1].replace("\n  ", "\n")
    said = yaml.safe_load(pasted)
    assert said == {"label_mapping": {1: "road", 2: "car", 3: "person"}, "void": [0, 255]}
    in_python = re.search(r"  (label_mapping=.*)\n", message)[1]
    assert in_python == "label_mapping={1: 'road', 2: 'car', 3: 'person'}, void=(0, 255)"
    assert "road would be trained as car" in message and "person would be left out" in message
    assert set(findings({1: 50, 3: 20})) == {("labels_shifted", "error")}
    assert set(findings({1: 9}, LabelMapping(1, {0: 0}), ["only"])) == {("labels_shifted", "error")}


def test_names_that_yaml_reads_as_something_else_are_quoted_where_they_are_to_be_pasted():
    classes = ("yes", "a: b", "[x", "12", "Straße")
    mapping = LabelMapping(5, {k: k for k in range(5)})
    (message,) = findings({1: 1, 5: 1}, mapping, classes).values()
    line = re.search(r"  (label_mapping: .*)\n", message)[1]
    assert yaml.safe_load(line)["label_mapping"] == dict(enumerate(classes, 1))


@pytest.mark.parametrize(
    "pixels, mapping, why",
    [
        ({0: 1, 1: 50, 2: 30, 3: 20}, IDENTITY, "there is a 0"),
        ({1: 50, 2: 30}, IDENTITY, "there is no K: class 0 is just rare"),
        ({1: 50, 2: 30, 3: 20}, LabelMapping(3, {0: 0, 1: 1, 2: 2}, (3, 255)), "K is void"),
        ({1: 50, 2: 30, 3: 20}, LabelMapping.shifted_by_one(3), "it is mapped already"),
        ({1: 5, 2: 5, 3: 5, 4: 5, 5: 5}, IDENTITY, "there are more classes than were named"),
        ({1: 5, 7: 5, 9: 5}, LabelMapping(3, {1: 0, 7: 1, 9: 2}), "values are mapped one by one"),
        ({}, IDENTITY, "there are no masks"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_the_shift_is_not_cried_without_its_tell(pixels, mapping, why):
    assert ("labels_shifted", "error") not in findings(pixels, mapping)


def test_with_a_zero_that_may_be_void_the_shift_is_a_warning():
    found = findings({0: 10, 1: 40, 2: 30, 3: 20})
    (message,) = found.values()
    assert set(found) == {("labels_shifted", "warning")}
    assert "3 (20.00%)" in message and "If 0 is void and classes count from 1" in message


def test_foreign_values_are_named_with_their_share_of_the_pixels():
    found = findings({0: 500, 1: 300, 2: 150, 252: 40, 9: 10})
    assert set(found) == {("labels_foreign", "warning")}
    assert "9 (1.00%), 252 (4.00%)" in found["labels_foreign", "warning"]


def test_classes_that_never_occur_are_named_and_a_warning_if_they_are_most():
    assert findings({0: 5, 2: 5}) == {
        ("classes_absent", "info"): "1 of 3 classes never occur in these masks: car"
    }
    found = findings({0: 5})
    assert found["classes_absent", "warning"].endswith(
        "2 of 3 classes never occur in these masks: car, person"
    )


@pytest.mark.parametrize("pixels", [{255: 9}, {7: 9}, {7: 4, 255: 5}])
def test_masks_without_a_pixel_of_a_class_are_an_error(pixels):
    found = findings(pixels)
    assert "every pixel is void" in found["labels_all_void", "error"]
    assert not any(kind == "classes_absent" for kind, _ in found)


def test_sound_masks_say_nothing():
    assert findings({0: 5, 1: 5, 2: 5, 255: 3}) == {}
    assert findings({0: 5, 1: 5, 2: 5, 3: 9}, LabelMapping.shifted_by_one(3)) == {}
    camvid = MetadataCatalog.get("camvid_train")
    pixels = dict.fromkeys(range(12), 4)
    assert findings(pixels, camvid.label_mapping, camvid.stuff_classes) == {}
    cityscapes = MetadataCatalog.get("cityscapes_video_train")
    pixels = dict.fromkeys(range(34), 4)
    assert findings(pixels, cityscapes.label_mapping, cityscapes.stuff_classes) == {}


# The sample


def videos(*lengths, every=1):
    return [
        {
            "video_id": str(v),
            "frames": [
                {"file_name": "", "sem_seg_file_name": None if f % every else f"{v}/{f}"}
                for f in range(length)
            ],
        }
        for v, length in enumerate(lengths)
    ]


def test_a_sample_is_spread_over_all_videos_and_their_frames():
    of_many = sample_masks(videos(*[100] * 300), 60)
    assert len(of_many) == 60 == len({mask.split("/")[0] for mask in of_many})
    of_frames = sorted(int(mask.split("/")[1]) for mask in of_many)
    assert of_frames[0] < 10 and of_frames[-1] > 90
    assert sample_masks(videos(100, 100), 4) == ["0/25", "0/75", "1/25", "1/75"]
    assert sample_masks(videos(3, 100), 10)[:3] == ["0/0", "0/1", "0/2"]  # all there are
    assert sample_masks(videos(7, every=3), 60) == ["0/0", "0/3", "0/6"]  # only labelled ones
    assert sample_masks(videos(5, every=9), 60) == ["0/0"] and sample_masks([], 60) == []
    assert sample_masks([{"video_id": "a", "file_name": "f"}], 60) == []  # not of videos


def test_masks_that_can_not_be_read_are_left_to_others(tmp_path):
    Image.fromarray(np.array([[1, 1, 9]], np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"404")
    histogram = histogram_of_masks([str(tmp_path / name) for name in ("a.png", "b.png", "c.png")])
    assert {v: n for v, n in enumerate(histogram) if n} == {1: 2, 9: 1}


# Training


def test_classes_that_one_dataset_lacks_another_may_have(tmp_path, caplog):
    records = {}
    for name, value in (("one", 0), ("two", 1)):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{name}.png")
        frame = {"file_name": "", "sem_seg_file_name": str(tmp_path / f"{name}.png")}
        records[name] = [{"video_id": "v", "frames": [frame]}]
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        check_training_labels(records, LabelMapping(2, {0: 0, 1: 1}))
    assert caplog.messages == []
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        check_training_labels(records, LabelMapping(4, {k: k for k in range(4)}))
    (message,) = caplog.messages
    assert (
        message.startswith("Sample of masks of one, two: 2 of 4 classes") and "class 2" in message
    )


@pytest.mark.parametrize("dataset", ["tiny_vspw_train", "cityscapes_video_train"])
def test_sound_datasets_start_training_without_a_word(
    dataset, tiny_vspw, tiny_cfg, tmp_path, monkeypatch, caplog
):
    if dataset.startswith("cityscapes"):
        for split, snippets in SNIPPETS.items():
            for snippet in snippets:
                write_snippet(tmp_path / "cityscapes", split, *snippet)
        monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
        tiny_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 19
    tiny_cfg.DATASETS.TRAIN = (dataset,)
    with caplog.at_level(logging.INFO, logger="cffm_plugin.data.label_sanity"):
        build_clip_train_loader(tiny_cfg)
    assert [r for r in caplog.records if r.name.endswith("label_sanity")] == []


def test_a_mapper_that_says_what_values_mean_is_believed(tiny_cfg, forget_datasets, tmp_path):
    """Masks of 1..3, which the dataset takes for 0..2 and a mapper of another's knows better."""
    for folder, image in (("frames", np.zeros((4, 6, 3))), ("masks", np.full((4, 6), 3))):
        (tmp_path / "a" / folder).mkdir(parents=True)
        for index in range(10):
            file = tmp_path / "a" / folder / f"{index}.png"
            Image.fromarray(image.astype(np.uint8)).save(file)
    register_video_folder("cffm_test_from_one", tmp_path, CLASSES, is_train=True)
    assert len(DatasetCatalog.get("cffm_test_from_one")) == 1
    tiny_cfg.DATASETS.TRAIN = ("cffm_test_from_one",)
    tiny_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    with pytest.raises(ValueError, match=r"(?s)cffm_test_from_one, 10 of its masks.*3 \(100"):
        build_clip_train_loader(tiny_cfg)
    build_clip_train_loader(tiny_cfg, mapper=dict)
