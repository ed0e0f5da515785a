"""Datasets in VSPW's layout: records, registration, an error for everything that can be amiss."""

import importlib
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import LabelMapping, load_vspw, register_vspw
from cffm_plugin.data.datasets import vspw
from cffm_plugin.data.datasets.vspw_classes import VSPW_CLASSES, VSPW_COLORS, voc_color
from cffm_plugin.synthetic import SYNTHETIC_CLASSES

NAME = "cffm_test_vspw"


@pytest.fixture
def root(tmp_path, write_vspw):
    """Two videos in train, one in val and one in test."""
    return write_vspw(
        tmp_path / "VSPW", {"train": {"b": 3, "a": 4}, "val": {"c": 12}, "test": {"d": 2}}
    )


# Records


def test_training_records_are_one_per_video_in_the_order_of_the_list(root):
    records = load_vspw(root, "train")
    assert [record["video_id"] for record in records] == ["b", "a"]
    assert records[0] == {
        "video_id": "b",
        "frames": [
            {
                "file_name": str(root / "data" / "b" / "origin" / f"0000000{i}.jpg"),
                "sem_seg_file_name": str(root / "data" / "b" / "mask" / f"0000000{i}.png"),
            }
            for i in range(3)
        ],
        "height": 48,
        "width": 64,
    }


def test_test_records_are_one_per_frame_in_order(root):
    records = load_vspw(root, "val")
    frames = load_vspw(root, "val", is_train=True)[0]["frames"]
    assert len(records) == 12
    for index, (record, frame) in enumerate(zip(records, frames)):
        assert record == {
            "video_id": "c",
            "frame_index": index,
            "num_frames": 12,
            "height": 48,
            "width": 64,
            **frame,
        }


def test_only_train_gives_training_records_unless_told_otherwise(root):
    assert "frames" in load_vspw(root, "train")[0]
    assert "frame_index" in load_vspw(root, "train", is_train=False)[0]


@pytest.mark.parametrize(
    "text",
    ["b\na", "b\na\n", "b\r\na\r\n", "\n  b \n\n\ta\n\n", "\ufeffb\na\n"],
    ids=["no final newline", "newline", "CRLF", "blanks", "byte-order mark"],
)
def test_lists_are_read_whatever_their_line_ends_and_blanks(root, text):
    (root / "train.txt").write_bytes(text.encode())
    assert [record["video_id"] for record in load_vspw(root, "train")] == ["b", "a"]


def test_hidden_and_foreign_files_are_not_frames(root):
    origin = root / "data" / "b" / "origin"
    for name in (".DS_Store", "._00000001.jpg", "Thumbs.db", "notes.txt"):
        (origin / name).write_bytes(b"x")
    (root / "data" / "b" / "mask" / "._00000001.png").write_bytes(b"x")
    assert len(load_vspw(root, "train")[0]["frames"]) == 3


@pytest.mark.parametrize("suffix", [".jpeg", ".png", ".JPG"])
def test_other_kinds_of_frames_are_accepted(root, suffix):
    frame = root / "data" / "b" / "origin" / "00000002.jpg"
    frame.rename(frame.with_suffix(suffix))
    frames = load_vspw(root, "train")[0]["frames"]
    assert frames[2]["file_name"].endswith(f"00000002{suffix}")
    assert frames[2]["sem_seg_file_name"].endswith("00000002.png")


def test_frames_are_ordered_by_number_also_without_zero_padding(root):
    video = root / "data" / "b"
    for index, number in enumerate((9, 10, 100)):
        (video / "origin" / f"0000000{index}.jpg").rename(video / "origin" / f"f{number}.jpg")
        (video / "mask" / f"0000000{index}.png").rename(video / "mask" / f"f{number}.png")
    frames = load_vspw(root, "train")[0]["frames"]
    names = [os.path.basename(frame["file_name"]) for frame in frames]
    assert names == ["f9.jpg", "f10.jpg", "f100.jpg"]


def test_the_size_is_that_of_each_videos_first_frame(root, monkeypatch):
    first = root / "data" / "a" / "origin" / "00000000.jpg"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(first)
    sizes = [(record["height"], record["width"]) for record in load_vspw(root, "train")]
    assert sizes == [(48, 64), (20, 30)]
    monkeypatch.setenv("HOME", str(root.parent))
    assert load_vspw(f"~/{root.name}", "train") == load_vspw(root, "train")


def test_the_test_split_has_masks_where_there_are_any(root):
    assert all(record["sem_seg_file_name"] for record in load_vspw(root, "test"))
    shutil.rmtree(root / "data" / "d" / "mask")
    assert [record["sem_seg_file_name"] for record in load_vspw(root, "test")] == [None, None]


# What can be amiss


def in_list(text):
    return lambda root: (root / "train.txt").write_text(text)


def empty_video_a(root):
    for file in (root / "data" / "a" / "origin").iterdir():
        file.unlink()
    (root / "data" / "a" / "origin" / ".hidden.jpg").touch()


def copy_frame(root):
    origin = root / "data" / "a" / "origin"
    shutil.copy(origin / "00000001.jpg", origin / "00000001.jpeg")


MISSING_MASKS = {"train": "a", "val": "c", "test": "d"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda root: shutil.rmtree(root), FileNotFoundError, "VSPW.*no such folder.*README"),
        (
            lambda root: (root / "train.txt").unlink(),
            FileNotFoundError,
            r"train\.txt.*one id per line",
        ),
        (in_list("\n \n"), ValueError, r"train\.txt.*empty"),
        (in_list("a\nb\na\n"), ValueError, r"train\.txt.*more than once: a\."),
        (
            in_list("a\n\nlost\nb\n"),
            FileNotFoundError,
            r"/VSPW/train\.txt: 1 of the 3 videos.*line 3: /.*/VSPW/data/lost",
        ),
        (
            in_list("\n".join(["a", *(f"lost{i}" for i in range(8))])),
            FileNotFoundError,
            "(?s)8 of the 9 videos(?!.*lost5).*lost4 and 3 more",
        ),
        (
            lambda root: shutil.rmtree(root / "data" / "a" / "origin"),
            FileNotFoundError,
            "a/origin: there are no frames",
        ),
        (empty_video_a, FileNotFoundError, "a/origin: there are no frames"),
        (copy_frame, ValueError, r"same frame.*00000001\.jpeg"),
        (
            lambda root: (root / "data/a/origin/00000000.jpg").write_bytes(b""),
            ValueError,
            r"00000000\.jpg.*empty",
        ),
    ],
    ids=[
        "no_root",
        "no_list",
        "empty_list",
        "listed_twice",
        "a_missing_video",
        "many_missing_videos",
        "no_folder_of_frames",
        "no_frames",
        "two_files_of_one_frame",
        "damaged_first_frame",
    ],
)
def test_what_is_amiss_in_a_folder_is_named(root, change, error, message):
    change(root)
    with pytest.raises(error, match=message):
        load_vspw(root, "train")


@pytest.mark.parametrize("split", MISSING_MASKS)
def test_a_frame_without_its_mask_is_named_with_the_mask_expected(root, split):
    (root / "data" / MISSING_MASKS[split] / "mask" / "00000001.png").unlink()
    with pytest.raises(FileNotFoundError) as error:
        load_vspw(root, split)
    for file in ("origin/00000001.jpg", "mask/00000001.png"):
        assert str(root / "data" / MISSING_MASKS[split] / file) in str(error.value)


def test_whoever_takes_note_gets_all_problems_and_the_records_of_the_rest(root):
    (root / "data" / "a" / "mask" / "00000001.png").unlink()
    shutil.rmtree(root / "data" / "b" / "origin")
    (root / "train.txt").write_text("b\na\na\nlost")
    problems = []
    records = load_vspw(root, "train", note=problems.append)
    assert {problem.kind: problem.files for problem in problems} == {
        "id_listed_twice": (root / "train.txt",),
        "video_missing": (root / "data" / "lost",),
        "no_frames": (root / "data" / "b" / "origin",),
        "mask_missing": (root / "data" / "a" / "mask" / "00000001.png",),
    }
    assert [record["video_id"] for record in records] == ["a"]
    with pytest.raises(ValueError, match="more than once: a"):  # by default the first is raised
        load_vspw(root, "train")


# Registration


def test_any_folder_in_vspws_layout_can_be_registered(root, forget_datasets):
    colors = [(1, 2, 3), (4, 5, 6)]
    register_vspw(NAME, root, "val", classes=["x", "y"], colors=colors)
    assert DatasetCatalog.get(NAME) == load_vspw(root, "val")
    metadata = MetadataCatalog.get(NAME)
    assert (metadata.stuff_classes, metadata.stuff_colors) == (["x", "y"], colors)
    assert (metadata.ignore_label, metadata.evaluator_type) == (255, "vspw")
    assert metadata.label_mapping == LabelMapping.shifted_by_one(2)


def test_registering_reads_nothing_but_counts_the_colours(forget_datasets):
    with pytest.raises(ValueError, match="2 classes, but 1 colors"):
        register_vspw(NAME, ".", "train", classes=["x", "y"], colors=[(0, 0, 1)])
    register_vspw(NAME, "/nowhere/at/all", "train", classes=["x", "y"])
    assert MetadataCatalog.get(NAME).stuff_colors == [(128, 0, 0), (0, 128, 0)]
    with pytest.raises(FileNotFoundError, match="/nowhere/at/all"):
        DatasetCatalog.get(NAME)


def test_vspws_classes_and_pascal_vocs_colours():
    assert len(VSPW_CLASSES) == len(set(VSPW_CLASSES)) == 124
    assert (VSPW_CLASSES[0], VSPW_CLASSES[-1]) == ("wall", "train")
    assert len(VSPW_COLORS) == len(set(VSPW_COLORS)) == 124
    for name in ("vspw_train", "vspw_val", "vspw_test"):
        assert MetadataCatalog.get(name).stuff_classes == list(VSPW_CLASSES)
        assert MetadataCatalog.get(name).label_mapping.num_classes == 124
    for split in ("train", "val", "test"):
        metadata = MetadataCatalog.get(f"synthetic_vspw_{split}")
        assert metadata.stuff_classes == list(SYNTHETIC_CLASSES[:10])
        assert metadata.label_mapping == LabelMapping.shifted_by_one(10)
    # Background, aeroplane, bicycle, bird, boat, person, tv and void of VOC's palette.
    voc = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    voc |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: voc_color(index) for index in voc} == voc


def test_builtin_datasets_are_found_where_detectron2_datasets_points_when_loaded(
    tmp_path, write_vspw, monkeypatch
):
    videos = {"train": {"a": 2}, "val": {"b": 2}, "test": {"c": 2}}
    write_vspw(tmp_path / "vspw" / "VSPW_480p", videos)
    write_vspw(tmp_path / "synthetic_vspw", videos)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("DETECTRON2_DATASETS", f"~/{tmp_path.name}")
    for kind in ("vspw", "synthetic_vspw"):
        assert DatasetCatalog.get(f"{kind}_train")[0]["video_id"] == "a"
        assert len(DatasetCatalog.get(f"{kind}_val")) == 2
        assert len(DatasetCatalog.get(f"{kind}_test")) == 2


def test_builtin_datasets_are_looked_for_in_datasets_by_default(tmp_path, write_vspw, monkeypatch):
    write_vspw(tmp_path / "datasets" / "vspw" / "VSPW_480p", {"train": {"a": 2}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert DatasetCatalog.get("vspw_train")[0]["video_id"] == "a"
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    assert DatasetCatalog.get("vspw_train")[0]["video_id"] == "a"


@pytest.mark.parametrize(
    ("name", "folder", "remedy"),
    [
        ("vspw_train", "vspw/VSPW_480p", "Download VSPW"),
        ("synthetic_vspw_val", "synthetic_vspw", "cffm synthetic"),
    ],
)
@pytest.mark.parametrize("is_set", [True, False])
def test_a_missing_builtin_dataset_says_where_why_and_what_to_do(
    tmp_path, monkeypatch, name, folder, remedy, is_set
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    reasons = [tmp_path / folder, f"DETECTRON2_DATASETS is {tmp_path}"]
    if not is_set:
        monkeypatch.delenv("DETECTRON2_DATASETS")
        reasons = [folder, "DETECTRON2_DATASETS is not set", tmp_path / "datasets"]
    with pytest.raises(FileNotFoundError) as error:
        DatasetCatalog.get(name)
    for part in (*reasons, remedy, "README.md"):
        assert str(part) in str(error.value)


def test_reloading_the_module_is_harmless():
    before = DatasetCatalog.list()
    importlib.reload(vspw)
    assert DatasetCatalog.list() == before


def test_importing_does_not_touch_the_disk_where_the_datasets_would_be(tmp_path):
    script = """
        import os, sys
        looked_at = []

        def spy(function):
            def spied(path, *args, **kwargs):
                looked_at.append(os.fsdecode(path) if not isinstance(path, int) else "")
                return function(path, *args, **kwargs)
            return spied

        for name in ("stat", "lstat", "listdir", "scandir"):
            setattr(os, name, spy(getattr(os, name)))
        sys.addaudithook(lambda event, args: event == "open" and looked_at.append(str(args)))
        import cffm_plugin.data
        from detectron2.data import DatasetCatalog
        assert "vspw_train" in DatasetCatalog.list()
        assert looked_at
        seen = [path for path in looked_at if os.environ["DETECTRON2_DATASETS"] in path]
        assert not seen, seen
    """
    environment = os.environ | {"DETECTRON2_DATASETS": str(tmp_path / "datasets_of_this_test")}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        env=environment,
        check=True,
        timeout=600,
    )
