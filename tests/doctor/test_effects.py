"""What the doctor says that training and evaluation will do, they do."""

import logging
import random
import shutil

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from planted_faults import (
    FAULTS,
    OFFSETS,
    K,
    check,
    frame,
    mask,
    put_value,
    resize_both,
    shorten,
    write,
)

from cffm_plugin.data import (
    ClipMapper,
    LabelMapping,
    build_clip_test_loader,
    build_clip_train_loader,
    load_vspw,
    register_vspw,
)
from cffm_plugin.data.augmentation import training_augmentations
from cffm_plugin.evaluation import VSPWEvaluator

planted = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@pytest.fixture
def registered(root):
    """The dataset's val and test under names that the evaluator knows."""
    names = {split: f"cffm_test_doctor_{split}" for split in ("val", "test")}
    for split, name in names.items():
        register_vspw(name, root, split, classes=[f"class {k}" for k in range(K)])
    yield names
    for name in names.values():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def train(records, offsets=OFFSETS):
    """Map every clip of every video that training would use, as training does."""
    mapper = ClipMapper(
        is_train=True,
        augmentations=training_augmentations(fit_size=(32, 24), crop_size=(16, 16)),
        label_mapping=LabelMapping.shifted_by_one(K),
    )
    loader = build_clip_train_loader(
        records, mapper=mapper, total_batch_size=1, frame_offsets=offsets, seed=0
    )
    clips = [clip for batch, _ in zip(loader, range(60)) for clip in batch]
    # t0 has 2 * 3 clips, t1 2 * 1, v0 where it is trained on 2 * 8.
    assert len({(clip["video_id"], *clip["frame_indices"]) for clip in clips}) >= 6
    return clips


def evaluate(records, dataset_name):
    """What an evaluation reads and scores; the model says class 0 everywhere."""
    mapper = ClipMapper(is_train=False, augmentations=[])
    evaluator = VSPWEvaluator(dataset_name, distributed=False)
    for inputs in build_clip_test_loader(records, mapper=mapper, frame_offsets=OFFSETS):
        size = inputs[0]["height"], inputs[0]["width"]
        evaluator.process(inputs, [{"sem_seg": torch.zeros(K, *size)}])
    return evaluator.evaluate()


def stops(function, *args):
    try:
        function(*args)
    except (ValueError, OSError):
        return True
    return False


@planted
def test_the_code_stops_where_the_doctor_says_and_nowhere_else(root, registered, fault):
    fault.plant(root)
    (finding,) = check(root).findings
    stopped = set()
    for split in ("train", "val", "test"):
        if stops(load_vspw, root, split):
            stopped.add("loading")
            assert finding.splits == (split,)
            with pytest.raises((ValueError, OSError)) as error:
                load_vspw(root, split)
            assert str(error.value) == finding.detail  # the loader's own words
        elif split == "train":
            if stops(train, load_vspw(root, "train")):
                stopped.add("training")
        elif stops(evaluate, load_vspw(root, split), registered[split]):
            stopped.add("evaluation")
    assert stopped == set(finding.stops)


def test_foreign_values_are_void_for_the_code_and_the_log_says_so(root, registered, caplog):
    for index in range(12):
        put_value(mask(root, index=index), 252)
    put_value(mask(root, "v0"), 252)
    assert all("count as void" in finding.detail for finding in check(root).findings)
    mapper = ClipMapper(
        is_train=True, augmentations=[], label_mapping=LabelMapping.shifted_by_one(K)
    )
    random.seed(0)
    with caplog.at_level(logging.WARNING):
        clip = mapper(load_vspw(root, "train")[0])
        evaluate(load_vspw(root, "val"), registered["val"])
    assert all((labels[5, 5:8] == 255).all() for labels in clip["sem_seg"])
    assert len(caplog.records) == 2  # one of the mapper, one of the evaluator
    assert all("252" in record.getMessage() for record in caplog.records)


def test_short_videos_are_left_out_of_training_and_named_as_the_doctor_says(root, caplog):
    shorten(root, "t1", 9)
    with caplog.at_level(logging.WARNING):
        visited = {clip["video_id"] for clip in train(load_vspw(root, "train"))}
    assert visited == {"t0"}
    assert "t1 (9)" in caplog.text


@pytest.mark.parametrize(("num_frames", "in_vc"), [(17, True), (16, False)])
def test_short_videos_count_in_miou_but_not_in_vc(root, registered, num_frames, in_vc):
    shorten(root, "v0", num_frames)
    assert (check(root).findings == ()) == in_vc
    scores = evaluate(load_vspw(root, "val"), registered["val"])["sem_seg"]
    assert not np.isnan(scores["mIoU"])
    assert np.isnan(scores["mVC8"]) != in_vc


def test_frames_of_another_size_are_stretched_in_training(root):
    resize_both(root, "t0")
    clips = [clip for clip in train(load_vspw(root, "train")) if 2 in clip["frame_indices"]]
    assert clips
    for clip in clips:
        assert len({tuple(image.shape) for image in clip["image"]}) == 1


@pytest.mark.parametrize("offsets", [OFFSETS, (-9, -1), (-5,)])
def test_frames_that_no_clip_takes_are_known(root, offsets):
    clips = [c for c in train(load_vspw(root, "train"), offsets) if c["video_id"] == "t1"]
    drawn = {index for clip in clips for index in clip["frame_indices"]}
    assert len(drawn) < 10 or offsets == (-5,)
    for index in range(10):
        write(frame(root, "t1", index), b"")
    findings = {
        finding.files[0][-6:-4]: finding for finding in check(root, offsets=offsets).findings
    }
    for index in range(1, 10):
        unread = "Nothing reads it" in findings[f"{index:02d}"].detail
        assert unread == (index not in drawn), index


def test_files_that_are_never_read_are_in_no_record(root):
    shutil.copytree(root / "data" / "t1", root / "data" / "t9")
    shutil.copy(mask(root), mask(root, index=99))
    (orphan, unlisted) = check(root).findings
    assert (orphan.kind, unlisted.kind) == ("mask_without_frame", "video_unlisted")
    records = str([load_vspw(root, split) for split in ("train", "val", "test")])
    assert "t9" not in records and "00000099" not in records
