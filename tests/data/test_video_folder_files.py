"""Files of a folder of videos: gaps in numbers, files that match nothing, annotations."""

import logging

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import (
    Dataset,
    build_clip_train_loader,
    load_vspw,
    register_video_folder,
    register_vspw,
)
from cffm_plugin.data.datasets.gaps import cuts_at_gaps, gaps_of
from cffm_plugin.doctor import Severity, check_dataset

pytestmark = pytest.mark.usefixtures("forget_datasets")

NAME = "cffm_test_files"
CLASSES = ("sky", "road")
SAID = {"label_mapping": "from_0", "is_train": True}


def write(root, *files):
    """Frames and masks, of two classes, by their paths."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[0, 1]], np.uint8)).save(root / file)
    return root


def video(name, numbers, suffix=".jpg"):
    frames = [f"{name}/frames/{n:06d}{suffix}" for n in numbers]
    return [*frames, *(f"{name}/masks/{n:06d}.png" for n in numbers)]


def load(root, **said):
    register_video_folder(NAME, root, CLASSES, **SAID | said)
    return DatasetCatalog.get(NAME)


def findings(root, **said):
    register_video_folder(NAME, root, CLASSES, **SAID | said)
    report = check_dataset([Dataset.registered(NAME)], offsets=(-1,), jobs=1)
    return {finding.kind: finding for finding in report.findings}, report


# Gaps


@pytest.mark.parametrize(
    ("numbers", "cuts"),
    [
        ([0, 1, 2, 3, 500, 501, 502], [4]),
        ([0, 1, 2, 4, 5, 6], []),  # a frame was dropped: twice the usual step
        ([0, 1, 2, 5, 6, 7], [3]),  # two were: three times
        ([0, 30, 60, 90, 600, 630], [4]),  # the usual step is 30
        ([7], []),
        ([0, 500], []),  # nothing is usual
        ([], []),
    ],
)
def test_a_step_over_twice_the_usual_one_is_a_gap(numbers, cuts):
    assert cuts_at_gaps(numbers) == cuts
    assert gaps_of([f"cam1_{n:04d}_left" for n in numbers]) == cuts


def test_names_that_do_not_count_frames_have_no_gaps():
    assert gaps_of(["a", "b", "c"]) == gaps_of(["1", "2", "x"]) == []
    assert gaps_of(["a_1", "b_1", "c_900"]) == []  # the last number stays


JUMP = [*range(10), *range(500, 504)]


def test_videos_are_parted_at_gaps_by_wish_and_no_clip_crosses_one(tmp_path):
    write(tmp_path, *video("a", JUMP), *video("b", range(3)))
    records = load(tmp_path, split_at_gaps=True)
    assert [(r["video_id"], len(r["frames"])) for r in records] == [
        ("a/000000", 10),
        ("a/000500", 4),
        ("b", 3),
    ]
    loader = build_clip_train_loader(
        records, mapper=dict, total_batch_size=1, seed=0, frame_offsets=(-3, -1)
    )
    for (clip,), _ in zip(loader, range(40)):
        numbers = [int(frame["file_name"][-10:-4]) for frame in clip["frames"]]
        assert max(numbers) - min(numbers) == 3


def test_by_default_a_video_is_one_and_its_gap_is_said(tmp_path, caplog):
    write(tmp_path, *video("a", JUMP), *video("b", JUMP))
    (finding,) = findings(tmp_path)[0].values()  # that of b, which comes last
    assert finding.kind == "frame_gap"
    assert finding.severity is Severity.WARNING and "000009 to 000500" in finding.detail
    assert finding.files[0].endswith("000500.jpg") and "split_at_gaps: true" in finding.detail
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        assert [len(r["frames"]) for r in DatasetCatalog.get(NAME)] == [14, 14]
    (message,) = [m for m in caplog.messages if "jump" in m]
    assert "video a: frame numbers jump" in message and "So 1 more video(s) do." in message


def test_test_records_of_a_parted_video_count_from_0_in_each_stretch(tmp_path):
    write(tmp_path, *video("a", [0, 1, 2, 9, 10, 11]))
    records = load(tmp_path, split_at_gaps=True, is_train=False)
    assert [(r["video_id"], r["frame_index"], r["num_frames"]) for r in records] == [
        *(("a/000000", i, 3) for i in range(3)),
        *(("a/000009", i, 3) for i in range(3)),
    ]


def test_folders_in_vspws_layout_are_parted_by_the_same_wish(tmp_path, write_vspw):
    write_vspw(tmp_path, {"train": {"a": 6}})
    for folder, suffix in (("origin", ".jpg"), ("mask", ".png")):
        for n in (3, 4, 5):
            file = tmp_path / "data" / "a" / folder / f"{n:08d}{suffix}"
            file.rename(file.with_name(f"{n + 90:08d}{suffix}"))
    assert [r["video_id"] for r in load_vspw(tmp_path, "train")] == ["a"]  # as the official ones
    register_vspw(NAME, tmp_path, "train", classes=["x"] * 4, split_at_gaps=True)
    ids = [record["video_id"] for record in DatasetCatalog.get(NAME)]
    assert ids == ["a/00000000", "a/00000093"]


# Files that match nothing


def test_frames_of_another_suffix_are_counted_and_named(tmp_path, caplog):
    write(tmp_path, *video("a", range(5)), "a/frames/000005.png", "a/frames/000006.bmp")
    said = {"frames": "{video}/frames/{frame}.jpg"}
    (finding,) = findings(tmp_path, **said)[0].values()
    assert finding.kind == "frame_unmatched" and finding.severity is Severity.WARNING
    assert [file[-10:] for file in finding.files] == ["000005.png", "000006.bmp"]
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        assert len(DatasetCatalog.get(NAME)[0]["frames"]) == 5
    assert "2 image(s) of dataset cffm_test_files that lie among the frames" in caplog.text


def test_other_images_beside_masks_are_good_to_know_and_other_files_nothing(tmp_path):
    write(tmp_path, *video("a", range(3)), "a/masks/000000_color.jpg")
    (tmp_path / "a" / "frames" / "Thumbs.db").touch()
    (tmp_path / "a" / "frames" / "._000001.bmp").touch()
    (finding,) = findings(tmp_path)[0].values()
    assert (finding.kind, finding.severity) == ("mask_unmatched", Severity.INFO)


def test_frames_and_masks_in_one_folder_are_each_others(tmp_path):
    write(tmp_path, *(f"{n}{tail}" for n in range(3) for tail in (".jpg", "_mask.png")))
    assert findings(tmp_path, frames="{frame}.jpg", masks="{frame}_mask.png")[0] == {}


# Names of a video and a frame together

VPS = [
    f"{{}}/{clip:04d}_{i:04d}_frankfurt_000000_{100 + 5 * i:06d}_newImg8bit.png"
    for clip in (1, 2)
    for i in range(3)
]


def test_a_format_by_which_every_frame_is_a_video_is_refused_with_the_one_that_is_not(tmp_path):
    write(tmp_path, *(name.format(folder) for name in VPS for folder in ("img", "labels")))
    formats = {"frames": "img/{video}_{frame}.png", "masks": "labels/{video}_{frame}.png"}
    with pytest.raises(ValueError, match=r"each of the 6 frames .*2 video\(s\).*video:short"):
        load(tmp_path, **formats)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    short = {key: text.replace("{video}", "{video:short}") for key, text in formats.items()}
    records = load(tmp_path, **short)
    assert [(r["video_id"], len(r["frames"])) for r in records] == [("0001", 3), ("0002", 3)]


def test_videos_of_one_frame_each_are_taken_where_no_other_format_makes_fewer(tmp_path):
    write(tmp_path, "img/a_1.png", "img/b_1.png")
    assert len(load(tmp_path, frames="img/{video}_{frame}.png", masks=None)) == 2


# Annotations instead of masks


@pytest.mark.parametrize("file", ["annotations/instances.json", "a/masks/0.json", "a.xml"])
def test_annotations_where_masks_should_be_are_named_with_what_to_do(tmp_path, file):
    write(tmp_path, "a/frames/0.jpg")
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / file).write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"{file}, of annotations: .*Export index masks"):
        load(tmp_path)


def test_a_failed_loading_names_the_datasets_root(tmp_path):
    found, report = findings(tmp_path / "nowhere")
    assert set(found) == {"loading_failed"} and report.root == str(tmp_path / "nowhere")
