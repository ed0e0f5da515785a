"""Datasets are checked by their registered names: CamVid's layout and folders of a YAML file."""

import shutil

import numpy as np
import pytest
from PIL import Image
from planted_faults import cut, put_value, remove, resize, snapshot, write

from cffm_plugin.data import Dataset, read_mask, register_video_folder_from_yaml
from cffm_plugin.doctor import Severity, check_dataset, write_corrected_masks

pytestmark = pytest.mark.usefixtures("forget_datasets")

SIZE = (9, 12)
CAMVID_LABELS = np.arange(9 * 12, dtype=np.uint8).reshape(SIZE) % 12  # every class, and 11, void
OWN_LABELS = np.full(SIZE, 7, np.uint8)
OWN_LABELS[:, :3] = 9
OFFSETS = (-2, -1)
YAML = """
cffm_test_doctor_own_train: &own
  root: own
  classes: [road, car]
  is_train: true
  videos: [a]
  label_mapping: {7: road, 9: car}
cffm_test_doctor_own_val:
  <<: *own
  videos: [b]
  is_train: false
"""
OWN = ["cffm_test_doctor_own_train", "cffm_test_doctor_own_val"]
CAMVID = ["camvid_train", "camvid_val"]


def check(names, **options):
    return check_dataset([Dataset.registered(name) for name in names], **options)


def write_pngs(folder, names, pixels):
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(pixels).save(folder / f"{name}.png")


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """A sound CamVid: a training and a validation video of 17 frames."""
    for split, sequence in (("train", "0001TP"), ("val", "0016E5")):
        names = [f"{sequence}_{n:06d}" for n in range(17)]
        write_pngs(tmp_path / "CamVid" / split, names, np.zeros((*SIZE, 3), np.uint8))
        write_pngs(tmp_path / "CamVid" / f"{split}annot", names, CAMVID_LABELS)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path / "CamVid"


@pytest.fixture
def own(tmp_path):
    """A sound folder of two videos of 17 frames, of which every other has labels."""
    for video in "ab":
        names = [f"{n:03d}" for n in range(17)]
        write_pngs(tmp_path / "own" / video / "frames", names, np.zeros((*SIZE, 3), np.uint8))
        write_pngs(tmp_path / "own" / video / "masks", names[::2], OWN_LABELS)
    (tmp_path / "own.yaml").write_text(YAML)
    register_video_folder_from_yaml(tmp_path / "own.yaml")
    return tmp_path / "own"


def found(names, root, jobs=1):
    """Kind, file and what stops, of the one finding."""
    report = check(names, offsets=OFFSETS, jobs=jobs)
    (finding,) = report.findings
    (file,) = finding.files
    return finding.kind, (root / report.root / file).relative_to(root).as_posix(), finding.stops


def test_sound_datasets_give_nothing(camvid, own):
    report = check(CAMVID, offsets=OFFSETS, jobs=2)
    assert (report.findings, report.num_videos, report.num_images) == ((), 2, 2 * 2 * 17)
    report = check(OWN, offsets=OFFSETS, jobs=2)
    assert (report.findings, report.num_videos, report.num_images) == ((), 2, 2 * (17 + 9))


@pytest.mark.parametrize(
    ("plant", "file", "kind", "stops"),
    [
        (cut, "val/0016E5_000003.png", "frame_unreadable", "evaluation"),
        (lambda p: write(p, b""), "train/0001TP_000003.png", "frame_unreadable", "training"),
        (lambda p: write(p, b""), "train/0001TP_000000.png", "frame_unreadable", "loading"),
        (put_value, "valannot/0016E5_000003.png", "mask_foreign_values", None),
        (lambda p: resize(p, (6, 6)), "trainannot/0001TP_000003.png", "mask_size", "training"),
        (remove, "valannot/0016E5_000003.png", "mask_missing", "loading"),
        (
            lambda p: shutil.copy(p, p.with_name("extra.png")) and p.with_name("extra.png"),
            "valannot/0016E5_000003.png",
            "mask_without_frame",
            None,
        ),
    ],
)
def test_faults_of_camvid_are_found(camvid, plant, file, kind, stops):
    where = plant(camvid / file).relative_to(camvid).as_posix()
    assert found(CAMVID, camvid) == (kind, where, (stops,) if stops else ())


@pytest.mark.parametrize(
    ("plant", "file", "kind", "stops"),
    [
        (cut, "a/frames/003.png", "frame_unreadable", "training"),
        (cut, "b/frames/003.png", "frame_unreadable", "evaluation"),
        (put_value, "b/masks/004.png", "mask_foreign_values", None),
        (lambda p: resize(p, (6, 6)), "b/masks/004.png", "mask_size", "evaluation"),
    ],
)
def test_faults_of_own_folders_are_found(own, plant, file, kind, stops):
    plant(own / file)
    assert found(OWN, own) == (kind, file, (stops,) if stops else ())


def test_each_dataset_that_can_not_be_loaded_is_a_finding_in_the_loaders_words(own):
    remove(own / "b" / "frames" / "004.png")
    (finding,) = check(OWN, offsets=OFFSETS, jobs=1).findings
    said = (finding.kind, finding.splits, finding.stops)
    assert said == ("loading_failed", (OWN[1],), ("loading",))
    assert "masks of dataset" in finding.detail and "b/masks/004.png" in finding.detail
    shutil.rmtree(own)
    findings = check(OWN, offsets=OFFSETS, jobs=1).findings
    assert sorted(finding.splits for finding in findings) == [(name,) for name in OWN]
    assert all("there is no such folder" in finding.detail for finding in findings)


def test_a_training_video_whose_labels_have_no_references_is_named(own):
    for mask in (own / "a" / "masks").iterdir():
        if mask.name != "008.png":
            mask.unlink()
    assert check(OWN, offsets=(-8, -1), jobs=1).findings == ()
    report = check(OWN, offsets=(-9, -1), jobs=1)  # nine frames away there is none
    assert [finding.kind for finding in report.findings] == ["no_clip", "video_without_clip"]
    assert "a: 17 frames, 1 labelled" in report.findings[1].detail


def test_labels_that_count_from_one_are_an_error_of_each_dataset_that_has_them(own, tmp_path):
    for mask in own.glob("*/masks/*.png"):
        Image.fromarray(np.where(OWN_LABELS == 7, 1, 2).astype(np.uint8)).save(mask)
    text = (tmp_path / "own.yaml").read_text().replace("cffm_test_doctor_own", "cffm_test_doctor_1")
    (tmp_path / "one.yaml").write_text(text.replace("label_mapping: {7: road, 9: car}", ""))
    names = register_video_folder_from_yaml(tmp_path / "one.yaml")
    report = check(names, offsets=OFFSETS, jobs=2)
    shifted = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert [(finding.kind, finding.splits) for finding in shifted] == [
        ("labels_shifted", (name,)) for name in names
    ]
    pasted = "label_mapping: from_1   # 1 is road, 2 is car, if this is their order"
    assert all(pasted in finding.detail for finding in shifted)
    assert write_corrected_masks(report, tmp_path / "out")[0] == []  # 2 may be a class
    assert {f.kind for f in report.findings} == {"labels_shifted", "mask_foreign_values"}


def test_a_dataset_without_a_pixel_of_a_class_is_an_error(own):
    for mask in own.glob("b/masks/*.png"):
        Image.fromarray(np.full(SIZE, 255, np.uint8)).save(mask)
    (finding,) = check(OWN, offsets=OFFSETS, jobs=1).findings
    assert (finding.kind, finding.splits) == ("labels_all_void", (OWN[1],))
    assert finding.severity is Severity.ERROR


def test_masks_of_registered_datasets_are_corrected_where_they_lie(own, tmp_path):
    put_value(own / "a" / "masks" / "004.png")
    before = snapshot(own)
    report = check(OWN, offsets=OFFSETS, jobs=1)
    assert write_corrected_masks(report, tmp_path / "out") == (["a/masks/004.png"], {})
    corrected = read_mask(tmp_path / "out" / "a" / "masks" / "004.png")
    assert sorted(np.unique(corrected)) == [7, 9, 255]
    assert snapshot(own) == before


def test_names_of_no_dataset_and_datasets_of_other_classes_are_refused(camvid, own):
    with pytest.raises(ValueError, match='no dataset "camvid_tran".*Did you mean camvid_train'):
        check(["camvid_tran"])
    with pytest.raises(ValueError, match="camvid_val and cffm_test_doctor_own_val"):
        check(["camvid_val", OWN[1]])
