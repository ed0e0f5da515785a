"""The doctor finds planted faults, alone and together, and nothing in a sound dataset."""

import json
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image
from planted_faults import (
    FAULTS,
    SIZE,
    as_colour,
    check,
    frame,
    mask,
    plant_many,
    put_value,
    resize,
    write,
)

from cffm_plugin.data import Dataset, build_clip_train_loader, load_vspw, read_image, read_mask
from cffm_plugin.data.image_files import is_whole
from cffm_plugin.data.images import image_size
from cffm_plugin.doctor import Severity, check_dataset

planted = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


# Finding


def test_a_sound_dataset_gives_nothing(sound):
    report = check(sound)
    assert report.findings == ()
    assert report.num_videos == 4
    assert report.num_images == 2 * (12 + 10 + 17 + 17)
    # Videos of lists that are not checked are not called unlisted.
    assert check(sound, splits=("train",)).findings == ()


def test_hidden_files_and_those_of_other_kinds_are_no_fault(root):
    for folder in (root, root / "data", root / "data" / "t0" / "origin", mask(root).parent):
        for name in (".DS_Store", "._00000001.jpg", "._00000001.png", "Thumbs.db"):
            (folder / name).write_bytes(b"x")
    (root / "data" / ".cache").mkdir()
    # Lists are read as load_vspw reads them.
    (root / "train.txt").write_bytes("\ufeff\r\n t1 \r\n\r\n\tt0\r\n".encode())
    assert check(root).findings == ()
    assert len(load_vspw(root, "train")) == 2


@planted
def test_every_fault_alone_is_found_and_nothing_else(root, fault):
    where = fault.plant(root)
    (finding,) = check(root).findings
    files = where if isinstance(where, tuple) else (where,)
    assert finding.kind == fault.kind
    assert finding.severity is fault.severity
    assert finding.stops == fault.stops
    assert finding.files == tuple(str(path.relative_to(root)) for path in files)
    assert finding.detail


def test_all_faults_together_are_all_found_by_any_number_of_processes(tmp_path, write_vspw):
    planted = plant_many(tmp_path, write_vspw)
    report = check(tmp_path)
    found = {}
    for finding in report.findings:
        found[finding.kind] = " ".join([*found.get(finding.kind, "").split(), *finding.files])
    assert found == planted
    assert len(report.findings) == 13
    assert check(tmp_path, jobs=2) == report

    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=list(Severity).index)


def test_a_file_with_two_faults_has_both(root):
    as_colour(mask(root))
    resize(mask(root))
    assert {f.kind for f in check(root).findings} == {"mask_unreadable", "mask_size"}


def test_test_videos_without_any_mask_are_sound(root):
    shutil.rmtree(root / "data" / "e0" / "mask")
    assert check(root).findings == ()
    (root / "train.txt").write_text("t0\nt1\ne0")  # but in training they are not
    missing, shared = check(root, splits=("train", "test")).findings
    assert (missing.kind, shared.kind) == ("mask_missing", "video_in_two_datasets")
    assert len(missing.files) == 17


def test_foreign_values_are_counted_per_video(root):
    for index in range(10):
        put_value(mask(root, index=index), 252, pixels=7)
    put_value(mask(root, index=11), 6, pixels=2)
    (finding,) = check(root).findings
    assert len(finding.files) == 11
    # 10 masks of 7 pixels
    assert "252 (70 pixels in 10 masks), 6 (2 pixels in 1 masks) stand for no" in finding.detail
    finding, *absent = check(root, num_classes=6).findings
    assert finding.detail.startswith("252 (70 pixels in 10 masks) stand for no class")
    # Classes 4 and 5 have the values 5 and 6.
    assert {f.splits: (f.kind, f.severity, f.detail.split(": ")[1]) for f in absent} == {
        ("train",): ("classes_absent", Severity.INFO, "class 4"),
        ("val",): ("classes_absent", Severity.INFO, "class 4, class 5"),
        ("test",): ("classes_absent", Severity.INFO, "class 4, class 5"),
    }


def test_no_training_video_being_long_enough_is_an_error(root):
    report = check(root, offsets=(-30, -20))
    assert [f.kind for f in report.findings] == ["no_clip"] + 2 * ["video_without_clip"]
    assert "takes 31 frames" in report.findings[0].detail
    assert "t0 (12), t1 (10)" in report.findings[0].detail
    with pytest.raises(ValueError, match="No training video has a clip"):
        build_clip_train_loader(
            load_vspw(root, "train"),
            mapper=lambda record: record,
            total_batch_size=1,
            frame_offsets=(-30, -20),
            seed=0,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"splits": ()}, "at least one dataset"),
        ({"offsets": (-3, -6)}, "strictly increasing"),
        ({"max_megapixels": 0}, "above 0"),
    ],
)
def test_wrong_arguments_are_refused(sound, arguments, message):
    with pytest.raises(ValueError, match=message):
        check(sound, **arguments)
    with pytest.raises(ValueError, match="none twice"):
        check_dataset([Dataset.registered("vspw_val")] * 2)


def test_images_above_the_limit_of_the_training_are_found(root):
    assert check(root, max_megapixels=24 * 32 / 1e6).findings == ()
    findings = check(root, splits=("train",), max_megapixels=(24 * 32 - 1) / 1e6).findings
    assert {finding.kind for finding in findings} == {"frame_unreadable", "mask_unreadable"}
    assert all("MAX_MEGAPIXELS" in finding.detail for finding in findings)
    assert not any(finding.correctable for finding in findings)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_sizes_are_compared_after_exif_orientation(root, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation

    def turn(file):
        with Image.open(file) as image:
            image.save(file, exif=exif)

    turn(frame(root))
    kinds = {1: set(), 3: {"exif_differs"}, 6: {"mask_size", "frame_sizes_differ"}}
    found = {finding.kind: finding.detail for finding in check(root).findings}
    assert set(found) == kinds[orientation]
    if orientation == 6:
        assert "EXIF turns them differently (orientation 1 and 6)" in found["mask_size"]
    assert image_size(frame(root)) == read_image(frame(root)).shape[:2]
    turn(mask(root))  # alike
    assert {f.kind for f in check(root).findings} == kinds[orientation] - {
        *("exif_differs", "mask_size")
    }


# JSON


def test_the_json_is_strict_and_complete(tmp_path, write_vspw):
    plant_many(tmp_path, write_vspw)
    report = check(tmp_path)
    text = json.dumps(report.as_dict(), allow_nan=False)
    content = json.loads(text)
    assert len(content["findings"]) == len(report.findings)
    for entry, finding in zip(content["findings"], report.findings):
        assert entry["kind"] == finding.kind
        assert entry["files"] == list(finding.files) and entry["detail"] == finding.detail
        assert entry["severity"] == finding.severity.value
        assert entry["stops"] == list(finding.stops)
    assert sum(content["findings_by_severity"].values()) == len(report.findings)
    assert content["findings_by_kind"]["mask_unreadable"] == 3
    assert content["num_images"] == report.num_images > 0
    assert content["images_per_second"] > 0


# Truncation


def save_image(path, mode, **kwargs):
    noise = np.random.default_rng(0).integers(0, 5, SIZE, dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **kwargs)
    return path.read_bytes()


def unfinished(content):
    """Beginnings of a file, 5 bytes apart and the last 40: as they are, and filled with zeros."""
    for end in sorted({*range(1, len(content), 5), *range(len(content) - 40, len(content))}):
        yield content[:end]
        if content[end:].strip(b"\0"):
            yield content[:end].ljust(len(content), b"\0")


@pytest.mark.parametrize(
    ("name", "mode", "kwargs"),
    [
        ("frame.jpg", "RGB", {"quality": 95}),
        ("frame.jpg", "RGB", {"progressive": True}),
        ("frame.jpg", "L", {"restart_marker_rows": 1}),
        ("frame.png", "RGB", {}),
        ("mask.png", "L", {}),
        ("mask.png", "P", {}),
    ],
)
def test_no_unfinished_image_passes_even_where_training_would_read_it(tmp_path, name, mode, kwargs):
    read = read_mask if name == "mask.png" else read_image
    path = tmp_path / name
    content = save_image(path, mode, **kwargs)
    assert read(path) is not None and is_whole(path)
    for part in unfinished(content):
        write(path, part)
        try:
            read(path)
        except (ValueError, OSError):
            continue
        assert not is_whole(path)


def test_a_jpegs_end_is_neither_its_thumbnails_nor_what_stands_behind_it(tmp_path):
    path = tmp_path / "frame.jpg"
    thumbnail = save_image(path, "RGB")
    assert thumbnail.endswith(b"\xff\xd9")
    content = save_image(path, "RGB", comment=thumbnail)
    assert is_whole(path)
    assert not is_whole(write(path, content[:-30] + bytes(30)))
    assert is_whole(write(path, content + b"\xff\xda and so on"))
