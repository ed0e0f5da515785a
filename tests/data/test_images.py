"""Reading frames and masks: what comes out, and what is said of files that can't be read."""

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from cffm_plugin.data import IGNORE_LABEL, LabelMapping, image_size, read_image, read_mask

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save(path, array, **kwargs):
    Image.fromarray(array).save(path, **kwargs)
    return path


# Frames


def test_frames_are_blue_green_red_uint8(tmp_path):
    image = read_image(save(tmp_path / "frame.png", RGB))
    np.testing.assert_array_equal(image, RGB[:, :, ::-1])
    assert image.dtype == np.uint8 and image.flags.c_contiguous


def test_jpeg_frames_are_what_opencv_reads(tmp_path):
    smooth = cv2.resize(RGB, (64, 48))
    path = save(tmp_path / "frame.jpg", smooth, quality=95)
    np.testing.assert_allclose(read_image(path).astype(int), cv2.imread(str(path)), atol=3)


def test_grey_frames_get_three_channels(tmp_path):
    image = read_image(save(tmp_path / "frame.png", RGB[..., 0]))
    np.testing.assert_array_equal(image, np.stack([RGB[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize(("orientation", "shape"), [(1, (6, 8)), (3, (6, 8)), (6, (8, 6))])
def test_exif_orientation_is_applied_and_image_size_agrees(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = save(tmp_path / "frame.jpg", RGB, exif=exif)
    assert read_image(path).shape == (*shape, 3)
    assert image_size(path) == shape


# Masks


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_read_raw(tmp_path, mode):
    raw = np.array([[0, 1, 124], [252, 255, 7]], dtype=np.uint8)
    mask = Image.fromarray(raw)
    if mode == "P":
        mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as stored:
        assert stored.mode == mode
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), raw)


def test_a_colour_mask_is_refused_with_the_reason(tmp_path):
    path = save(tmp_path / "mask.png", RGB)
    with pytest.raises(ValueError, match=r"mask\.png: expected an index mask.*mode RGB.*colour"):
        read_mask(path)


# Damaged files


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png.*no such file"):
        read(tmp_path / "nowhere.png")


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_file_without_an_image_is_named(tmp_path, read, content):
    path = tmp_path / "empty.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"empty\.png.*empty or not an image"):
        read(path)


def test_a_truncated_jpeg_is_named(tmp_path):
    path = save(tmp_path / "cut.jpg", cv2.resize(RGB, (64, 48)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"cut\.jpg.*damaged"):
        read_image(path)
    assert image_size(path) == (48, 64)  # the header alone is whole


def test_a_truncated_mask_is_named(tmp_path):
    path = save(tmp_path / "cut.png", RGB[..., 0])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"cut\.png.*damaged"):
        read_mask(path)


# Label mappings


def test_vspws_mapping_shifts_by_one_and_makes_0_and_255_void():
    mapping = LabelMapping.shifted_by_one(124)
    raw = np.array([[0, 1, 2, 124, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(mapping(raw), [[255, 0, 1, 123, 255]])
    assert mapping(raw).dtype == np.uint8
    assert mapping.foreign_values(raw) == []


def test_foreign_values_become_void_and_are_found():
    mapping = LabelMapping.shifted_by_one(124)
    raw = np.array([[125, 252, 1, 252]], dtype=np.uint8)
    np.testing.assert_array_equal(mapping(raw), [[IGNORE_LABEL, IGNORE_LABEL, 0, IGNORE_LABEL]])
    assert mapping.foreign_values(raw) == [125, 252]


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


def test_the_size_of_a_truncated_png_is_an_error_that_names_it(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(
        tmp_path / "cut.png"
    )
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.png.*damaged"):
        image_size(tmp_path / "cut.png")
