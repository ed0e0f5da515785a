"""Corrected copies of masks: what is corrected, what is left, and never in place."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from planted_faults import (
    T0_MASK,
    K,
    as_16_bit,
    as_colour,
    check,
    cut,
    mask,
    put_value,
    resize,
    snapshot,
)

from cffm_plugin.data import read_mask
from cffm_plugin.doctor import write_corrected_masks


def grey_as(path, mode):
    with Image.open(path) as image:
        image.convert(mode).save(path)


def with_palette(path):
    """A palette of 21 colours, of which 5 to 20 stand for no class; 255 is none of them."""
    image = Image.fromarray(read_mask(put_value(path, 20)))
    image.putpalette([7, 8, 9] * 21)
    image.save(path)


def fill(path):
    """640 of all 43,008 labelled pixels have a value that is of no class: 1.5 %."""
    raw = read_mask(path)
    raw[:20] = 252
    Image.fromarray(raw).save(path)


CORRECTABLE = {
    "foreign value": put_value,
    "foreign value with a palette": with_palette,
    "16 bits": as_16_bit,
    "16 bits with a foreign value": lambda path: as_16_bit(path, 252),
    "RGB of one channel": lambda path: grey_as(path, "RGB"),
    "RGBA of one channel": lambda path: grey_as(path, "RGBA"),
    "grey and alpha": lambda path: grey_as(path, "LA"),
}
NOT_CORRECTABLE = {
    "colours": as_colour,
    "16 bits with a large value": lambda path: as_16_bit(path, 300),
    "partly transparent": lambda path: Image.fromarray(
        np.stack([read_mask(path)] * 4, axis=-1)
    ).save(path),
    "another size": resize,
    "another size and a foreign value": lambda path: put_value(resize(path)),
    "a value that may be a class": lambda path: put_value(path, 2 * K),  # of K that are counted
    "a value of many pixels": lambda path: fill(path),
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("name", CORRECTABLE)
def test_corrections_give_a_sound_dataset_and_change_nothing_else(root, tmp_path, name):
    expected = read_mask(mask(root))
    CORRECTABLE[name](mask(root))
    before = snapshot(root)
    report = check(root)
    assert len(report.findings) == 1 and report.findings[0].correctable
    assert write_corrected_masks(report, tmp_path / "out") == ([T0_MASK], {})
    assert snapshot(root) == before
    assert list(snapshot(tmp_path / "out")) == [Path(T0_MASK)]
    corrected = read_mask(tmp_path / "out" / T0_MASK)
    changed = corrected != expected
    assert (corrected[changed] == 255).all()
    assert changed.sum() == {"foreign value": 3, "foreign value with a palette": 3}.get(
        name, int("foreign" in name)
    )
    with Image.open(tmp_path / "out" / T0_MASK) as image:
        assert image.mode == ("P" if "palette" in name else "L")
        assert image.mode == "L" or image.getpalette()[:3] == [7, 8, 9]

    shutil.copytree(tmp_path / "out" / "data", root / "data", dirs_exist_ok=True)
    assert check(root).findings == ()


@pytest.mark.parametrize("name", NOT_CORRECTABLE)
def test_what_can_not_be_corrected_is_left_and_said(root, tmp_path, name):
    NOT_CORRECTABLE[name](mask(root))
    before = snapshot(root)
    written, left = write_corrected_masks(check(root), tmp_path / "out")
    assert written == []
    assert list(left) == [T0_MASK] and left[T0_MASK]
    assert not (tmp_path / "out").exists()
    assert snapshot(root) == before


def test_16_bits_per_channel_are_not_taken_for_8(root, tmp_path):
    raw = read_mask(mask(root)).astype(np.uint16)
    cv2.imwrite(str(mask(root)), np.stack([raw] * 3, axis=-1))  # Pillow reads the high bytes
    (finding,) = check(root).findings
    assert finding.kind == "mask_unreadable" and not finding.correctable


def test_corrections_are_the_same_by_any_number_of_processes_and_can_be_repeated(root, tmp_path):
    for index in range(5):
        put_value(mask(root, index=index), 252)
    report = check(root)
    first = write_corrected_masks(report, tmp_path / "one")
    second = write_corrected_masks(report, tmp_path / "two", jobs=2)
    assert first == second and len(first[0]) == 5
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert write_corrected_masks(report, tmp_path / "one") == first


def test_other_files_are_never_overwritten(root, tmp_path):
    put_value(mask(root))
    there = tmp_path / "out" / T0_MASK
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"00000002\.png.*overwritten"):
        write_corrected_masks(check(root), tmp_path / "out")
    assert there.read_bytes() == b"mine"


@pytest.mark.parametrize("where", [".", "data", "corrected/masks", "..", "link", "link back"])
def test_correcting_in_place_is_refused(root, tmp_path, where):
    (tmp_path / "link").symlink_to(root)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data").symlink_to(root / "data")
    folders = {"link": tmp_path / "link" / "x", "link back": tmp_path / "out"}
    message = "never written in place"
    if where == "link back":
        message = "out/data: is a link that leads out of"
    put_value(mask(root))
    before = snapshot(root)
    with pytest.raises(ValueError, match=message):
        write_corrected_masks(check(root), folders.get(where, root / where))
    assert snapshot(root) == before
