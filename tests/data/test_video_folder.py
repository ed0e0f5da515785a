"""Folders of videos: records for any layout, sparse labels, an error for what can be amiss."""

import logging
import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import LabelMapping, load_vspw, read_mask, register_video_folder
from cffm_plugin.data.datasets.vspw_classes import voc_colors

NAME = "cffm_test_folder"
CLASSES = ("road", "car", "sky")

pytestmark = pytest.mark.usefixtures("forget_datasets")


def write(root, frames, masks, lengths, labelled=lambda index: True):
    """Write 4x6 frames and masks under names made by two formats; masks hold the frame's index."""
    for video, length in lengths.items():
        for index in range(length):
            for text, image in (
                (frames, np.zeros((4, 6, 3), np.uint8)),
                (masks, np.full((4, 6), index, np.uint8)),
            ):
                if text is None or (text == masks and not labelled(index)):
                    continue
                file = root / text.format(video=video, frame=index)
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file)
    return root


def load(root, **kwargs):
    if NAME in DatasetCatalog:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)
    register_video_folder(NAME, root, CLASSES, **{"is_train": True} | kwargs)
    return DatasetCatalog.get(NAME)


@pytest.fixture
def root(tmp_path):
    """Videos of 12 and 3 frames in the layout of the defaults, every third frame labelled."""
    frames, masks = "{video}/frames/{frame}.jpg", "{video}/masks/{frame}.png"
    lengths = {"b": 12, "a": 3}
    return write(tmp_path / "mine", frames, masks, lengths, lambda index: index % 3 == 0)


# Records


def test_training_records_are_one_per_video_and_frames_without_a_mask_have_none(root):
    records = load(root)
    assert [record["video_id"] for record in records] == ["a", "b"]
    assert records[1] == {
        "video_id": "b",
        "frames": [
            {
                "file_name": str(root / "b" / "frames" / f"{i}.jpg"),  # 9 before 10
                "sem_seg_file_name": str(root / "b" / "masks" / f"{i}.png") if i % 3 == 0 else None,
            }
            for i in range(12)
        ],
        "height": 4,
        "width": 6,
    }


def test_test_records_are_one_per_frame(root):
    records = load(root, is_train=False, videos=["b"])
    assert [record["frame_index"] for record in records] == list(range(12))
    assert {record["num_frames"] for record in records} == {12}
    assert [record["sem_seg_file_name"] is not None for record in records] == [1, 0, 0] * 4


def test_vspws_layout_gives_vspws_records(tmp_path, write_vspw):
    root = write_vspw(tmp_path, {"train": {"b": 3, "a": 4}, "val": {"c": 2}})
    formats = {"frames": "data/{video}/origin/{frame}", "masks": "data/{video}/mask/{frame}"}
    assert load(root, videos="train.txt", **formats) == load_vspw(root, "train")
    assert load(root, videos="val.txt", is_train=False, **formats) == load_vspw(root, "val")


@pytest.mark.parametrize(
    ("frames", "masks"),
    [
        ("JPEGImages/480p/{video}/{frame}.jpg", "Annotations/480p/{video}/{frame}.png"),
        ("{video}_{frame}.jpg", "{video}_{frame}.png"),
        ("frames/{video}_{frame}.png", "labels/{video}_{frame}_L.png"),
        # In one folder and with one suffix: the longer format tells masks from frames, ...
        ("{video}/{frame}.png", "{video}/{frame}_mask.png"),
        # ... or frames from masks.
        ("{video}/{frame}_rgb.png", "{video}/{frame}.png"),
    ],
)
def test_formats_say_any_layout(tmp_path, frames, masks):
    write(tmp_path, frames, masks, {"b_1": 2, "a": 11}, lambda index: index != 1)
    records = load(tmp_path, frames=frames, masks=masks)
    assert [record["video_id"] for record in records] == ["a", "b_1"]
    for record, length in zip(records, (11, 2)):
        video = record["video_id"]
        assert record["frames"] == [
            {
                "file_name": str(tmp_path / frames.format(video=video, frame=i)),
                "sem_seg_file_name": str(tmp_path / masks.format(video=video, frame=i))
                if i != 1
                else None,
            }
            for i in range(length)
        ]


def test_without_a_place_for_the_video_the_folder_is_one_video(tmp_path):
    root = write(tmp_path / "walk", "rgb/{frame}.jpg", "truth/{frame}.png", {"": 3})
    (record,) = load(root, frames="rgb/{frame}.jpg", masks="truth/{frame}.png")
    assert record["video_id"] == "walk" and len(record["frames"]) == 3


def test_videos_may_be_listed_in_code_or_in_a_file_and_keep_its_order(root):
    assert [record["video_id"] for record in load(root, videos=("b", "a"))] == ["b", "a"]
    (root / "list.txt").write_text("b\n\na\n")
    assert [record["video_id"] for record in load(root, videos="list.txt")] == ["b", "a"]
    assert [record["video_id"] for record in load(root, videos=root / "list.txt")] == ["b", "a"]
    assert [record["video_id"] for record in load(root, videos=["b"])] == ["b"]


def test_how_many_frames_have_masks_is_in_the_log_and_without_masks_none_has(root, caplog):
    with caplog.at_level(logging.INFO, logger="cffm_plugin"):
        load(root)
    assert f"{NAME}: 2 video(s), 15 frames, 5 of them with masks" in caplog.text
    frames = load(root, masks=None, is_train=False)
    assert {frame["sem_seg_file_name"] for frame in frames} == {None}


# What the values in the masks mean


def test_by_default_value_k_is_class_k_and_255_void_and_colours_are_vocs(root):
    load(root)
    metadata = MetadataCatalog.get(NAME)
    assert metadata.label_mapping == LabelMapping(3, {0: 0, 1: 1, 2: 2}, void=(255,))
    assert metadata.stuff_classes == list(CLASSES)
    assert metadata.stuff_colors == voc_colors(3)
    assert (metadata.evaluator_type, metadata.ignore_label) == ("vspw", 255)
    load(root, colors=[[1, 2, 3], (4, 5, 6), [7, 8, 9]])
    assert MetadataCatalog.get(NAME).stuff_colors == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]


def test_values_are_mapped_by_name_or_index_and_several_may_be_of_one_class(root):
    load(root, label_mapping={0: "sky", 3: 1, 6: "road", 7: "road"}, void=(9, 255))
    record = DatasetCatalog.get(NAME)[1]
    mapping = MetadataCatalog.get(NAME).label_mapping
    masks = [frame["sem_seg_file_name"] for frame in record["frames"][::3]]  # of values 0, 3, 6, 9
    assert [mapping(read_mask(mask))[0, 0] for mask in masks] == [2, 1, 0, 255]
    assert mapping(np.array([7], np.uint8)) == [0]
    assert mapping.foreign_values(np.array([0, 9, 8, 255], np.uint8)) == [8]


# What can be amiss


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": []}, r"classes: expected a list of 2 to 255 names"),
        ({"classes": "road"}, r"classes: expected a list.*got 'road'"),
        ({"classes": ["yes", True]}, r"classes: .*in quotes.*True"),
        ({"classes": ["a", "a"]}, r"classes: expected names that differ"),
        ({"classes": [str(k) for k in range(256)]}, r"classes: expected a list of 2 to 255"),
        ({"root": 3}, r"root: expected a folder; got 3"),
        ({"is_train": "yes"}, r"is_train: expected true or false; got 'yes'"),
        ({"videos": [1, 2]}, r"videos: .*in quotes.*\[1, 2\]"),
        ({"videos": []}, r"videos: expected a file .*or a list"),
        ({"videos": ["a", "a"]}, r"videos: expected names that differ"),
        ({"frames": "{video}.jpg"}, r"frames: expected a path with \{frame\}"),
        ({"frames": None}, r"frames: expected a path in quotes; got None"),
        ({"masks": "masks/{id}.png"}, r"masks: expected a path with \{frame\}"),
        ({"masks": "{frame}.png"}, r"masks: .*\{video\} in both or in neither"),
        ({"masks": "{video}/frames/{frame}"}, r"masks: expected another path than that of frames"),
        ({"colors": [(1, 2, 3)]}, r"colors: there are 3 classes, but 1 colors"),
        ({"colors": [(1, 2), (1, 2), (1, 2)]}, r"colors: .*\[red, green, blue\].*\(1, 2\)"),
        ({"colors": [(0, 0, 256)] * 3}, r"colors: .*0\.\.255"),
        ({"label_mapping": {0: "rode"}}, r"label_mapping: value 0 .*did you mean road\?"),
        ({"label_mapping": {0: "x"}}, r"label_mapping: .*expected one of road, car, sky"),
        ({"label_mapping": {0: 3}}, r"label_mapping: .*class 3 is outside"),
        ({"label_mapping": {300: 0}}, r"label_mapping: .*300"),
        ({"label_mapping": {"0": "road"}}, r"label_mapping: .*'0': 'road'"),
        ({"label_mapping": {True: "road"}}, r"label_mapping: .*True: 'road'"),
        (
            {"label_mapping": {255: "road"}, "void": [255]},
            r"label_mapping: .*255.*both void and a class",
        ),
        ({"classes": ["road"]}, r"classes: expected 2 names or more.*background"),
        ({"label_mapping": "from_2"}, r"label_mapping: expected from_0, from_1, or"),
        ({"label_mapping": "from_1", "void": [3]}, r"label_mapping: is from_1.*values \[3\]"),
        ({"label_mapping": {"#80408": "road"}}, r"label_mapping: expected .*#804080"),
        ({"label_mapping": {"#804080": "road", 1: "car"}}, r"label_mapping: names colours"),
        (
            {"label_mapping": {"#804080": "road"}, "mask_values": {"channel": "R"}},
            r"label_mapping: names colours, so that mask_values",
        ),
        ({"mask_values": {"channel": "X"}}, r"mask_values: channel: expected one of R, G, B, A"),
        ({"mask_values": {"divide": 0}}, r"mask_values: divide: expected a number from 1 on"),
        ({"mask_values": {"divide_from": 9}}, r"mask_values: divide_from: .*beside divide"),
        ({"mask_values": {"chanel": "R"}}, r"mask_values: expected the keys channel, divide"),
        ({"masks": "{video}/{frame}.json"}, r"masks: .*outlines and names, not pixels"),
        ({"void": (0, 255)}, r"label_mapping: is missing.*void names the values \[0\]"),
        ({"void": 255}, r"void: expected a list of values"),
        ({"void": [256]}, r"void: .*0\.\.255"),
    ],
)
def test_a_wrong_argument_is_named_at_once(root, arguments, message):
    arguments = {"root": root, "classes": CLASSES, "is_train": True} | arguments
    with pytest.raises(ValueError, match=rf"(?s)^{NAME}: {message}"):
        register_video_folder(NAME, **arguments)
    assert NAME not in DatasetCatalog


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            {"root": "/nowhere"},  # registering it reads nothing
            FileNotFoundError,
            rf"/nowhere.*no such folder.*root of.*{NAME}",
        ),
        (
            {"frames": "{video}/images/{frame}"},
            FileNotFoundError,
            rf'/mine: .*{NAME} has no frames.*"\{{video\}}/images/\{{frame\}}" '
            r"\(\.jpg, \.jpeg, \.png\).*Correct",
        ),
        (
            {"masks": "{video}/truth/{frame}.png"},
            FileNotFoundError,
            r'no masks.*"\{video\}/truth/\{frame\}\.png".*null',
        ),
        (
            {"videos": ["a", "lost"]},
            FileNotFoundError,
            r"1 of the 2 videos .* have no frames.*: lost\.",
        ),
        ({"videos": "train.txt"}, FileNotFoundError, r"train\.txt.*one per line"),
        ({"videos": "empty.txt"}, ValueError, r"empty\.txt.*empty"),
    ],
    ids=["no_root", "no_frames", "no_masks", "listed_without_frames", "no_list", "empty_list"],
)
def test_what_is_not_found_is_named_with_what_was_looked_for(root, said, error, message):
    (root / "empty.txt").write_text("\n")
    with pytest.raises(error, match=rf"(?s){message}"):
        load(**{"root": root} | said)


def test_a_video_without_masks_among_others_is_fine(root):
    shutil.rmtree(root / "a" / "masks")
    first, second = load(root)
    assert {frame["sem_seg_file_name"] for frame in first["frames"]} == {None}
    assert sum(frame["sem_seg_file_name"] is not None for frame in second["frames"]) == 4


def test_masks_without_a_frame_are_named(root):
    (root / "b" / "frames" / "3.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 masks of .* no frame.*b/masks/3\.png.*Correct"):
        load(root)
    assert load(root, videos=["a"])  # nobody asked for video b


def test_two_files_of_one_frame_are_named(root):
    shutil.copy(root / "a" / "frames" / "1.jpg", root / "a" / "frames" / "1.jpeg")
    with pytest.raises(
        ValueError, match=r"a/frames/1\.jp.* 1\.jp.*both frame 1 of video a.*suffix"
    ):
        load(root)
    assert len(load(root, frames="{video}/frames/{frame}.jpg")[0]["frames"]) == 3
