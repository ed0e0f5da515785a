"""Folders of predictions from strangers: every trap is an error that names it, never a hang."""

import os
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from raw_png import rows_of, write_png

from cffm_plugin.data import Dataset, LabelMapping
from cffm_plugin.evaluation import score_predictions

LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
VIDEOS = ("a", "day1/b")


@pytest.fixture
def root(tmp_path):
    """Two videos of two frames, one of them in a folder."""
    for video in VIDEOS:
        for kind in ("origin", "mask"):
            (tmp_path / "data" / video / kind).mkdir(parents=True)
            for index in range(2):
                image = Image.fromarray(LABELS + 1)
                image.save(tmp_path / "data" / video / kind / f"{index}.png")
    (tmp_path / "val.txt").write_text("\n".join(VIDEOS))
    return tmp_path


@pytest.fixture
def folder(root):
    """Perfect predictions."""
    for video in VIDEOS:
        (root / "predictions" / video).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(LABELS).save(root / "predictions" / video / f"{index}.png")
    return root / "predictions"


def score(root, max_megapixels=100, **options):
    dataset = Dataset.in_folder(root, "val", 3, max_megapixels)
    return score_predictions(dataset, root / "predictions", **options)


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def link_out(file):
    """To the truth, where a cheat would lead."""
    file.unlink()
    file.symlink_to(file.parents[2] / "val.txt")


def folder_that_leads_out(file):
    elsewhere = file.parents[2] / "elsewhere"
    file.parent.rename(elsewhere)
    file.parent.symlink_to(elsewhere)


def loop(file):
    file.unlink()
    file.symlink_to(file.name)


def bomb(file):
    write_png(file, (65500, 65500))


def folder_instead(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (pipe, r"not an index PNG .*: a/1\.png \(no regular file\)"),
        (folder_instead, r"not an index PNG .*: a/1\.png \(no regular file\)"),
        (loop, r"not an index PNG .*: a/1\.png \(no regular file\)"),
        (bomb, r"not an index PNG .*: a/1\.png \(too large\)"),
        (link_out, r"1 link\(s\) that lead out of the folder .*: a/1\.png"),
        (folder_that_leads_out, r"2 link\(s\) that lead out of the folder .*: a/0\.png, a/1\.png"),
    ],
)
def test_a_trap_is_an_error_that_names_it_and_partial_scores_the_others(
    root, folder, spoil, reason
):
    spoil(folder / "a" / "1.png")
    with pytest.raises(ValueError, match=reason):
        score(root)
    scores = score(root, partial=True)
    assert scores.scored_frames == (2 if spoil is folder_that_leads_out else 3)


def test_links_within_the_folder_and_a_folder_that_is_a_link_are_scored(root, folder):
    (folder / "a" / "1.png").unlink()
    (folder / "a" / "1.png").symlink_to("0.png")
    folder.rename(root / "disk")
    folder.symlink_to(root / "disk")
    assert score(root).scored_frames == 4


def test_videos_in_folders_are_scored_and_what_is_too_much_there_is_named(root, folder):
    assert score(root).scored_frames == 4
    (folder / "day1" / "c").mkdir()
    Image.fromarray(LABELS).save(folder / "day1" / "stray.png")
    with pytest.raises(ValueError) as error:
        score(root)
    assert "1 folder(s) that are no video of the split: day1/c" in str(error.value)
    assert "1 PNG(s) that are no frame of the split: day1/stray.png" in str(error.value)


def test_a_problem_of_a_video_in_a_folder_is_told_with_its_whole_name(root, folder):
    Image.fromarray(LABELS[:3]).save(folder / "day1" / "b" / "0.png")
    with pytest.raises(ValueError, match=r"day1/b/0\.png \(3x8, mask 6x8\)"):
        score(root)


def test_a_mask_above_the_limit_is_named_with_the_limit(root, folder):
    with pytest.raises(ValueError, match=r"mask/0\.png: .*8x6 pixels.*--max-megapixels\) is 4e-05"):
        score(root, max_megapixels=40e-6)
    with pytest.raises(ValueError, match="above 0 and at most 178"):
        score(root, max_megapixels=0)


def test_predictions_of_4_bits_are_scored_as_they_were_written(root, folder):
    write_png(folder / "a" / "1.png", (8, 6), bits=4, rows=rows_of(LABELS.tolist(), 4))
    assert score(root).results().sem_seg["mIoU"] == 100


def test_records_of_a_video_that_leads_out_are_refused_before_anything_is_read(
    root, folder, forget_datasets
):
    frame = str(root / "data" / "a" / "origin" / "0.png")
    frames = [{"file_name": frame, "sem_seg_file_name": frame.replace("origin", "mask")}]
    records = [{"video_id": "../data/a/mask", "frames": frames}]
    DatasetCatalog.register("strangers", lambda: records)
    MetadataCatalog.get("strangers").set(
        stuff_classes=["a", "b", "c"], label_mapping=LabelMapping.shifted_by_one(3)
    )
    with pytest.raises(ValueError, match=r"Video '\.\./data/a/mask' has the part"):
        score_predictions(Dataset.registered("strangers"), Path(folder), one_based=True)
