"""Reading frames and masks: what comes out, and what is said of files that can't be read."""

import cv2
import numpy as np
import pytest
from fresh_process import run_without
from PIL import Image

from cffm_plugin.data import LabelMapping, image_size, read_image, read_mask

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save(path, array, **kwargs):
    Image.fromarray(array).save(path, **kwargs)
    return path


# Frames


def test_frames_are_blue_green_red_uint8_and_jpegs_what_opencv_reads(tmp_path):
    image = read_image(save(tmp_path / "frame.png", RGB))
    np.testing.assert_array_equal(image, RGB[:, :, ::-1])
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    grey = read_image(save(tmp_path / "grey.png", RGB[..., 0]))
    np.testing.assert_array_equal(grey, np.stack([RGB[..., 0]] * 3, axis=-1))
    path = save(tmp_path / "frame.jpg", cv2.resize(RGB, (64, 48)), quality=95)
    np.testing.assert_allclose(read_image(path).astype(int), cv2.imread(str(path)), atol=3)


# Masks


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_read_raw(tmp_path, mode):
    raw = np.array([[0, 1, 124], [252, 255, 7]], dtype=np.uint8)
    mask = Image.fromarray(raw)
    if mode == "P":
        mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), raw)


def test_a_colour_mask_is_refused_with_the_reason(tmp_path):
    path = save(tmp_path / "mask.png", RGB)
    with pytest.raises(ValueError, match=r"mask\.png: expected an index mask.*mode RGB.*colour"):
        read_mask(path)


# Damaged files


@pytest.mark.parametrize(
    ("name", "read"),
    [("cut.jpg", read_image), ("cut.png", read_mask), ("cut.png", image_size)],
    ids=["frame", "mask", "size_of_a_png"],
)
def test_a_truncated_file_is_named(tmp_path, name, read):
    path = save(tmp_path / name, cv2.resize(RGB, (64, 48))[..., 0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{name}.*damaged"):
        read(path)
    if name == "cut.jpg":
        assert image_size(path) == (48, 64)  # the header alone is whole


# Label mappings


def test_vspws_mapping_shifts_by_one_and_makes_0_255_and_foreign_values_void():
    mapping = LabelMapping.shifted_by_one(124)
    raw = np.array([[0, 1, 2, 124, 255, 125, 252, 252]], dtype=np.uint8)
    np.testing.assert_array_equal(mapping(raw), [[255, 0, 1, 123, 255, 255, 255, 255]])
    assert mapping(raw).dtype == np.uint8
    assert mapping.foreign_values(raw) == [125, 252]
    assert mapping.foreign_values(raw[:, :5]) == []


def test_mappings_that_say_the_same_are_equal():
    assert LabelMapping.shifted_by_one(5) == LabelMapping.shifted_by_one(5)
    assert LabelMapping.shifted_by_one(5) != LabelMapping.shifted_by_one(6)
    assert LabelMapping(2, {0: 0, 1: 1}) != LabelMapping(2, {0: 1, 1: 0})


@pytest.mark.parametrize(
    ("num_classes", "class_of", "void"),
    [(2, {0: 2}, (255,)), (2, {256: 0}, (255,)), (2, {0: -1}, (255,)), (2, {255: 0}, (255,))],
)
def test_impossible_mappings_are_refused(num_classes, class_of, void):
    with pytest.raises(ValueError, match="LabelMapping"):
        LabelMapping(num_classes, class_of, void)


def test_an_opencv_that_can_not_be_loaded_is_as_good_as_none(tmp_path):
    """As where a library of the system's is missing."""
    write_png = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save
    write_png(tmp_path / "a.png")
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from cffm_plugin.data import read_image
        print(read_image({str(tmp_path / "a.png")!r})[0, 0].tolist())
    """
    assert run_without([], code).stdout.strip() == "[2, 1, 0]"
