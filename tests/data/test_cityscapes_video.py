"""Cityscapes with its video, on a generated tree of the exact layout."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import ClipMapper, build_clip_train_loader, read_mask
from cffm_plugin.data.datasets.cityscapes_video import load_cityscapes_video
from cffm_plugin.evaluation import VSPWEvaluator

# The official label ids of the 19 classes, in the order of their train ids: cityscapesscripts,
# helpers/labels.py. The other ids from 0 to 33 are not evaluated.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
SIZE = (8, 16)
# Split -> (city, sequence, first frame of a snippet of 30). Most cities number the sequences, some
# the frames of one sequence, where snippets lie apart or touch.
SNIPPETS = {
    "train": [
        ("aachen", 0, 0),
        ("aachen", 1, 0),
        ("hamburg", 0, 0),
        ("hamburg", 0, 23),
        ("hamburg", 0, 60),
    ],
    "val": [("munster", 173, 0), ("munster", 173, 30), ("lindau", 2, 77)],
    "test": [("berlin", 543, 0)],
}


def write_snippet(root, split, city, sequence, first):
    frames = root / "leftImg8bit_sequence" / split / city
    labels = root / "gtFine" / split / city
    for folder in (frames, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + 30):
        name = f"{city}_{sequence:06d}_{number:06d}"
        image = np.full((*SIZE, 3), number % 256, np.uint8)
        Image.fromarray(image).save(frames / f"{name}_leftImg8bit.png")
    labelled = f"{city}_{sequence:06d}_{first + 19:06d}_gtFine"
    ids = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 34
    if split == "test":
        ids[:] = 0  # the archive's own placeholder
    Image.fromarray(ids).save(labels / f"{labelled}_labelIds.png")
    Image.fromarray(ids).save(labels / f"{labelled}_instanceIds.png")
    Image.fromarray(np.zeros((*SIZE, 4), np.uint8)).save(labels / f"{labelled}_color.png")
    (labels / f"{labelled}_polygons.json").write_text("{}")


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "cityscapes"
    for split, snippets in SNIPPETS.items():
        for snippet in snippets:
            write_snippet(root, split, *snippet)
    for name in ("license.txt", "README"):
        (root / name).touch()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return root


def labelled(record):
    frames = record["frames"]
    return [i for i, frame in enumerate(frames) if frame["sem_seg_file_name"] is not None]


def test_a_video_is_a_stretch_of_consecutive_frames_and_frame_19_of_each_snippet_is_labelled(root):
    records = DatasetCatalog.get("cityscapes_video_train")
    summary = {r["video_id"]: (len(r["frames"]), labelled(r)) for r in records}
    # Hamburg's snippets 0..29 and 23..52 overlap: one video of 53 frames, labelled at 19 and 42.
    # Then its numbers jump to 60.
    assert summary == {
        "aachen_000000_000000": (30, [19]),
        "aachen_000001_000000": (30, [19]),
        "hamburg_000000_000000": (53, [19, 42]),
        "hamburg_000000_000060": (30, [19]),
    }
    assert {(r["height"], r["width"]) for r in records} == {SIZE}
    name = "hamburg_000000_000042"
    assert records[2]["frames"][42] == {
        "file_name": str(root / f"leftImg8bit_sequence/train/hamburg/{name}_leftImg8bit.png"),
        "sem_seg_file_name": str(root / f"gtFine/train/hamburg/{name}_gtFine_labelIds.png"),
    }


def test_val_gives_all_frames_in_order_and_test_gives_no_labels(root):
    val = DatasetCatalog.get("cityscapes_video_val")
    # Frames 77..106 of lindau, then 0..59 of munster: two snippets that follow each other.
    assert [record["frame_index"] for record in val] == [*range(30), *range(60)]
    assert {record["video_id"] for record in val} == {
        "lindau_000002_000077",
        "munster_000173_000000",
    }
    assert [i for i, record in enumerate(val) if record["sem_seg_file_name"]] == [19, 49, 79]
    test = DatasetCatalog.get("cityscapes_video_test")
    assert len(test) == 30 and {record["sem_seg_file_name"] for record in test} == {None}


def test_the_label_ids_become_the_19_classes_and_the_others_void_without_a_warning(root):
    metadata = MetadataCatalog.get("cityscapes_video_train")
    assert metadata.stuff_classes[:3] == ["road", "sidewalk", "building"]
    assert metadata.stuff_classes[-2:] == ["motorcycle", "bicycle"]
    assert metadata.stuff_colors[0] == (128, 64, 128) and metadata.stuff_colors[13] == (0, 0, 142)
    assert len(metadata.stuff_classes) == 19 and metadata.evaluator_type == "vspw"
    record = load_cityscapes_video(root, "train")[0]
    raw = read_mask(record["frames"][19]["sem_seg_file_name"])
    assert set(raw.ravel().tolist()) == set(range(34))
    mapped = metadata.label_mapping(raw)
    for raw_id in range(34):
        expected = IDS.index(raw_id) if raw_id in IDS else 255
        assert set(mapped[raw == raw_id].tolist()) == {expected}
    assert metadata.label_mapping.foreign_values(raw) == []


def test_training_clips_end_at_the_labelled_frames(root):
    mapping = MetadataCatalog.get("cityscapes_video_train").label_mapping
    loader = build_clip_train_loader(
        load_cityscapes_video(root, "train"),
        mapper=ClipMapper(is_train=True, augmentations=[], label_mapping=mapping),
        total_batch_size=4,  # a pass over the four videos
        frame_offsets=(-9, -6, -3),
        seed=0,
    )
    targets = {}
    for batch, _ in zip(loader, range(20)):
        for clip in batch:
            targets.setdefault(clip["video_id"], set()).add(clip["frame_indices"][-1])
            # Hamburg's labels at 19 and 42 are 23 frames apart: no reference has labels.
            assert [labels is None for labels in clip["sem_seg"]] == [True, True, True, False]
    assert targets == {
        "aachen_000000_000000": {19},
        "aachen_000001_000000": {19},
        "hamburg_000000_000000": {19, 42},
        "hamburg_000000_000060": {19},
    }


def test_evaluation_scores_the_labelled_frames_and_says_why_there_is_no_vc(root, caplog):
    name = "cityscapes_video_val"
    mapping = MetadataCatalog.get(name).label_mapping
    evaluator = VSPWEvaluator(name)
    for record in DatasetCatalog.get(name):
        classes = np.zeros(SIZE, np.int64)  # "road" everywhere, but right where there are labels
        if record["sem_seg_file_name"]:
            truth = mapping(read_mask(record["sem_seg_file_name"]))
            classes = np.where(truth == 255, 0, truth).astype(np.int64)
        logits = torch.nn.functional.one_hot(torch.from_numpy(classes), 19).permute(2, 0, 1)
        evaluator.process([record], [{"sem_seg": logits.float()}])
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["mIoU"] == scores["pACC"] == 100
    assert math.isnan(scores["mVC8"]) and math.isnan(scores["mVC16"])
    assert "mVC8 is undefined: no 8 consecutive frames are labelled" in caplog.text
    assert "at most 1 are" in caplog.text


# What can be amiss


def test_missing_archives_are_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"cityscapes: .*leftImg8bit_sequence and gtFine"):
        DatasetCatalog.get("cityscapes_video_train")


AACHEN = "leftImg8bit_sequence/train/aachen"
MISSING, WRONG = FileNotFoundError, ValueError


@pytest.mark.parametrize(
    ("split", "change", "file", "error", "message"),
    [
        ("train", shutil.rmtree, "gtFine/train", MISSING, "gtFine/train: .*no files <city>/"),
        ("train", shutil.rmtree, "leftImg8bit_sequence/train", MISSING, "no files <city>/"),
        # A snippet whose labels are missing
        (
            "val",
            Path.unlink,
            "gtFine/val/lindau/lindau_000002_000096_gtFine_labelIds.png",
            MISSING,
            "lindau_000002_000077.*29 frames after.*labels",
        ),
        # Labels whose frame is missing
        (
            "train",
            Path.unlink,
            f"{AACHEN}/aachen_000001_000019_leftImg8bit.png",
            WRONG,
            "1 labels are of frames.*aachen_000001_000019_gtFine",
        ),
        # A file of another name
        (
            "train",
            Path.touch,
            f"{AACHEN}/bonn_000000_000000_leftImg8bit.png",
            WRONG,
            "bonn_.*expected a file of Cityscapes, aachen_<seq",
        ),
        ("demoVideo", Path.touch, "README", WRONG, "splits train, val, test; got 'demoVideo'"),
    ],
)
def test_what_is_amiss_in_a_split_is_named(root, split, change, file, error, message):
    change(root / file)
    with pytest.raises(error, match=message):
        load_cityscapes_video(root, split)
