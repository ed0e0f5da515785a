"""What is odd about the values in masks, told from how often each occurs."""

import logging
import os
import re

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from test_cityscapes_video import SNIPPETS, write_snippet

from cffm_plugin.data import LabelMapping, build_clip_train_loader, read_mask, register_video_folder
from cffm_plugin.data.label_findings import label_findings
from cffm_plugin.data.label_sanity import check_training_labels, histograms_of_masks, sample_masks
from cffm_plugin.data.mask_encoding import MaskEncoding
from cffm_plugin.data.mask_origins import files_by_storage, objects_finding, storage_finding

CLASSES = ("road", "car", "person")
IDENTITY = LabelMapping(3, {0: 0, 1: 1, 2: 2})


def findings(pixels, mapping=IDENTITY, classes=CLASSES):
    """From value -> pixels to (kind, level) -> message."""
    histogram = np.zeros(256, dtype=np.int64)
    histogram[list(pixels)] = list(pixels.values())
    found = label_findings(histogram, mapping, classes)
    return {(finding.kind, finding.level): finding.message for finding in found}


def test_masks_that_count_from_one_are_an_error_that_says_what_to_write_and_whose_order_it_is():
    (message,) = findings({1: 50, 2: 30, 3: 20, 255: 5}).values()
    pasted = re.search(r"  (label_mapping: .*)\n", message)[1]
    assert yaml.safe_load(pasted) == {"label_mapping": "from_1"}
    assert "1 is road, 2 is car, 3 is person, if this is their order" in pasted
    assert "road would be trained as car" in message and "person would be left out" in message
    assert set(findings({1: 50, 3: 20})) == {("labels_shifted", "error")}


# Nobody has said what the values mean


UNSAID = LabelMapping(3, {0: 0, 1: 1, 2: 2}, assumed=frozenset({"label_mapping", "void"}))
VOID_UNSAID = LabelMapping(3, {0: 0, 1: 1, 2: 2}, assumed=frozenset({"void"}))


def test_a_background_of_0_is_asked_about_and_an_error_where_the_last_class_has_no_number():
    """Index masks of 0 = background under [road, car, person]: 3 is person, and of no class."""
    (kind, level), message = findings({0: 70, 1: 10, 2: 10, 3: 10}, UNSAID).popitem()
    assert (kind, level) == ("labels_shifted", "error")
    for answer in ("from_0", "from_1", "classes: [background, ...]", "void: [3, 255]"):
        assert answer in message
    found = findings({0: 70, 1: 10, 2: 10}, UNSAID)  # without a person it can't be told
    assert set(found) == {("labels_from_zero", "warning")}
    assert "0 (road, 77.78%), 1 (car, 11.11%)" in found["labels_from_zero", "warning"]
    more = findings(dict.fromkeys(range(8), 1), UNSAID)  # most foreign values are other ones
    assert set(more) == {("labels_undecided", "error")}


@pytest.mark.parametrize("first", ["background", "_Background_", "BG", "unlabelled"])
def test_where_the_first_class_is_the_background_there_is_nothing_to_ask(first):
    assert findings({0: 70, 1: 10, 2: 10}, UNSAID, (first, "car", "person")) == {}


def test_who_has_said_that_values_count_from_0_is_not_asked():
    assert findings({0: 70, 1: 10, 2: 10}, VOID_UNSAID) == {}
    assert set(findings({0: 7, 1: 1, 2: 1, 3: 1}, VOID_UNSAID)) == {("labels_shifted", "warning")}


BINARY = LabelMapping(2, {0: 0, 1: 1}, assumed=frozenset({"label_mapping", "void"}))


def test_masks_of_0_and_255_are_an_error_with_both_ways_to_write_them():
    """255 is void by default: the lesion would be ignored, and nothing could be wrong."""
    found = findings({0: 90, 255: 10}, BINARY, ("background", "lesion"))
    message = found["labels_one_class", "error"]
    lines = re.findall(r"^  (.*)$", message, re.MULTILINE)
    as_class = yaml.safe_load("\n".join(lines[:2]))
    assert as_class == {"label_mapping": {0: "background", 255: "lesion"}, "void": []}
    assert yaml.safe_load(lines[2]) == {"void": [255]}
    answered = LabelMapping(2, {0: 0, 255: 1}, void=())
    assert findings({0: 90, 255: 10}, answered, ("background", "lesion")) == {}


@pytest.mark.parametrize("pixels", [{0: 9, 128: 1}, {0: 9, 128: 1, 255: 1}, {1: 5, 255: 4}])
def test_one_class_beside_values_that_nobody_has_named_is_an_error(pixels):
    assert ("labels_one_class", "error") in findings(pixels, UNSAID)
    # A mapping is only offered where the background is known.
    found = findings({0: 90, 255: 10}, BINARY, ("lesion", "background"))
    assert "{0: background, 255: lesion}" in found["labels_one_class", "error"]
    found = findings({0: 90, 255: 10}, BINARY, ("left", "right"))
    assert "{0: CLASS, 255: CLASS}" in found["labels_one_class", "error"]
    # Who has said void is warned.
    said = LabelMapping(2, {0: 0, 1: 1})
    found = findings({0: 90, 255: 10}, said, ("background", "lesion"))
    assert set(found) == {("classes_absent", "warning")}


def test_a_class_that_never_occurs_or_has_no_value_is_a_warning_with_the_share_of_void():
    found = findings({0: 5, 1: 5, 255: 5}, VOID_UNSAID)
    assert "person. 255 (33.33%) counts as void" in found["classes_absent", "warning"]
    assert set(findings({0: 5, 1: 5, 255: 5})) == {("classes_absent", "info")}  # said
    found = findings({0: 5, 1: 5, 9: 5}, LabelMapping(3, {0: 0, 1: 1}, void=(9,)))
    assert "no value for person" in found["classes_without_value", "warning"]
    assert "9 (33.33%)" in found["classes_without_value", "warning"]


def test_one_class_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match=r"2 to 255 classes.*\[background, lesion\]"):
        LabelMapping(1, {0: 0})


# Where masks come from


@pytest.mark.parametrize(
    ("values", "is_found"),
    [
        ([{0, 1}, {0, 1, 2}, {0, 1, 2, 3}], True),  # one, two and three objects
        ([{0, 1}, {0, 1, 2}, {0, 1, 3}], False),  # no second, but a third
        ([{0, 1, 2}, {0, 1, 2}, {0, 1, 2}], False),  # all have the same classes
        ([{0, 1}, {0, 1, 2}], False),  # too few to tell
        ([{0}, set(), {255}], False),
    ],
)
def test_numbers_of_objects_are_told_by_every_videos_counting_from_1(values, is_found):
    found = objects_finding(values, IDENTITY)
    assert [(f.kind, f.level) for f in found] == [("labels_of_objects", "warning")] * is_found


def save(file, values, greys=None, bits=8):
    """A grey mask; with a palette of greys the values are places in it."""
    image = Image.fromarray(np.array([values], np.uint8))
    if greys is not None:
        image.putpalette([grey for grey in greys for _ in range(3)])
    image.convert("1").save(file) if bits == 1 else image.save(file)
    return str(file)


def test_masks_that_a_program_made_smaller_are_named_and_read_right_by_channel(tmp_path):
    """What oxipng makes of {0, 255} and of {0, 7, 255}: the picture stays, the numbers don't."""
    usual = [save(tmp_path / f"{k}.png", (0, 7, 255)) for k in range(3)]
    assert storage_finding(files_by_storage([*usual, str(tmp_path / "none.png")])) == []
    one_bit = save(tmp_path / "one_bit.png", (0, 255, 0), bits=1)
    palette = save(tmp_path / "palette.png", (0, 1, 2), greys=(0, 7, 255))
    assert read_mask(one_bit).tolist() == [[0, 1, 0]] and read_mask(palette).tolist() == [[0, 1, 2]]
    for file in (one_bit, palette):
        (found,) = storage_finding(files_by_storage([*usual, file]))
        assert found.kind == "mask_storage_mixed" and "mask_values: {channel: R}" in found.message
        assert file in found.message and usual[0] not in found.message
    by_channel = MaskEncoding(channel="R")
    values = [
        read_mask(file, encoding=by_channel).tolist() for file in (one_bit, palette, usual[0])
    ]
    assert values == [[[0, 255, 0]], [[0, 7, 255]], [[0, 7, 255]]]


def test_palettes_of_greys_that_differ_are_named_though_every_mask_has_one(tmp_path):
    first = save(tmp_path / "a.png", (0, 1, 2), greys=(0, 7, 11))
    second = save(tmp_path / "b.png", (0, 1, 1), greys=(0, 11))  # 7 does not occur
    assert len(storage_finding(files_by_storage([first, second]))) == 1


def test_palettes_that_are_for_looking_at_say_nothing_and_a_pipe_is_not_waited_for(tmp_path):
    black_and_white = save(tmp_path / "a.png", (0, 1), greys=(0, 255))
    longer = save(tmp_path / "b.png", (0, 1), greys=(0, 255, 128))
    assert storage_finding(files_by_storage([black_and_white, longer])) == []
    grey, ramp = save(tmp_path / "c.png", (0, 1)), save(tmp_path / "d.png", (0, 1), greys=range(9))
    colours = Image.fromarray(np.array([[0, 1]], np.uint8))
    colours.putpalette([0, 0, 0, 128, 0, 0])
    colours.save(tmp_path / "e.png")
    assert storage_finding(files_by_storage([grey, ramp, str(tmp_path / "e.png")])) == []
    os.mkfifo(tmp_path / "mask.png")
    assert files_by_storage([str(tmp_path / "mask.png")]) == {}


# One histogram, all said


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
    assert "label_mapping: from_1" in message


def test_classes_that_never_occur_are_named_and_a_warning_if_they_are_most():
    said = "classes never occur in these masks: car"
    assert findings({0: 5, 2: 5}) == {("classes_absent", "info"): f"1 of 3 {said}"}
    assert findings({0: 5})["classes_absent", "warning"].endswith(f"2 of 3 {said}, person")
    found = findings({0: 500, 1: 300, 2: 150, 252: 40, 9: 10})
    assert set(found) == {("labels_foreign", "warning")}
    assert "9 (1.00%), 252 (4.00%)" in found["labels_foreign", "warning"]


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
    files = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    ((file, histogram),) = histograms_of_masks(files, IDENTITY).items()
    assert file == files[0] and {v: n for v, n in enumerate(histogram) if n} == {1: 2, 9: 1}


# Training


def test_classes_that_one_dataset_lacks_another_may_have(tmp_path, caplog):
    records = {}
    for name, value in (("one", 0), ("two", 1)):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / f"{name}.png")
        frame = {"file_name": "", "sem_seg_file_name": str(tmp_path / f"{name}.png")}
        records[name] = [{"video_id": "v", "frames": [frame]}]
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        check_training_labels(records, LabelMapping(2, {0: 0, 1: 1}))
    assert caplog.messages == [
        "Classes in a sample of masks of one, two: class 0 50.00%, class 1 50.00%, no class 0.00%"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        check_training_labels(records, LabelMapping(4, {k: k for k in range(4)}))
    message, _ = caplog.messages
    assert (
        message.startswith("Sample of masks of one, two: 2 of 4 classes") and "class 2" in message
    )


@pytest.mark.parametrize("dataset", ["tiny_vspw_train", "cityscapes_video_train"])
def test_sound_datasets_start_training_with_the_classes_shares_alone(
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
    (record,) = [r for r in caplog.records if r.name.endswith("label_sanity")]
    assert record.levelname == "INFO" and record.message.startswith("Classes in a sample of masks")


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
