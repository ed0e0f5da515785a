"""Images of strangers: what is refused before it is decoded, and what every kind becomes."""

import os
import socket
import struct

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from raw_png import GREY, PALETTE, rows_of, write_png

from cffm_plugin.data import image_size, read_image, read_mask
from cffm_plugin.data.image_files import read_mask_of_any_format
from cffm_plugin.data.image_opening import check_max_megapixels
from cffm_plugin.data.images import exif_orientation

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
LABELS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4
READERS = [read_image, read_mask, image_size, read_mask_of_any_format]

pytestmark = pytest.mark.filterwarnings("ignore:.*::PIL")  # of what is then refused
every_reader = pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)


def exif_of(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


# Large images


@pytest.mark.parametrize("read", [read_image, read_mask, read_mask_of_any_format])
@pytest.mark.parametrize("size", [(13300, 13300), (65500, 65500)])
def test_a_decompression_bomb_is_refused_by_its_header_with_file_size_and_key(tmp_path, read, size):
    bomb = write_png(tmp_path / "bomb.png", size)
    with pytest.raises(ValueError) as error:
        read(bomb)
    pixels = size[0] * size[1]
    said = str(error.value)
    assert str(bomb) in said and "INPUT.MAX_MEGAPIXELS" in said
    assert f"{size[0]}x{size[1]}" in said or f"{pixels} pixels" in said


def test_a_bomb_among_jpegs_is_refused_too(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "bomb.jpg")
    content = bytearray((tmp_path / "bomb.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5  # the frame header: height, width
    content[at : at + 4] = struct.pack(">HH", 60000, 2000)
    (tmp_path / "bomb.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb\.jpg.*2000x60000 pixels.*MAX_MEGAPIXELS"):
        read_image(tmp_path / "bomb.jpg")


def test_the_limit_is_the_number_of_pixels_that_are_still_read(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "frame.png")
    Image.fromarray(LABELS).save(tmp_path / "mask.png")
    assert read_image(tmp_path / "frame.png", 48e-6).shape == (6, 8, 3)
    assert read_mask(tmp_path / "mask.png", 48e-6).shape == (6, 8)
    for read, name in ((read_image, "frame.png"), (read_mask, "mask.png")):
        with pytest.raises(ValueError, match=rf"{name}.*8x6 pixels.*MAX_MEGAPIXELS"):
            read(tmp_path / name, 47e-6)


@pytest.mark.parametrize("limit", [0, -1, 179, float("nan"), float("inf")])
def test_a_limit_that_would_be_none_is_refused(limit):
    with pytest.raises(ValueError, match=r"INPUT\.MAX_MEGAPIXELS.*above 0 and at most 178"):
        check_max_megapixels(limit)


def test_the_size_of_a_png_is_had_without_a_pixel(tmp_path):
    # The pixels are no image at all, and what turns it stands behind them.
    turned = exif_of(6).tobytes().removeprefix(b"Exif\0\0")
    file = write_png(tmp_path / "f.png", (9000, 7000), rows=b"no rows", behind_pixels=turned)
    assert image_size(file) == (9000, 7000)
    assert exif_orientation(file) == 6


# What is no image


@every_reader
def test_a_pipe_is_an_error_and_nothing_waits(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png: expected .*, but this is a pipe"):
        read(tmp_path / "pipe.png")


@every_reader
def test_devices_folders_sockets_and_loops_of_links_are_no_images(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        for file, error, message in (
            ("socket.png", ValueError, r"socket\.png: expected .*, but this is a socket"),
            ("/dev/zero", ValueError, "/dev/zero: expected .*, but this is a device"),
            (".", ValueError, r"\.: expected .*, but this is a folder"),
            ("a.png", OSError, r"a\.png: expected .*can't be read \(Too many levels"),
            ("a\0b.png", ValueError, r"a\\x00b\.png.*no path"),
            ("nowhere.png", FileNotFoundError, r"nowhere\.png.*no such file"),
        ):
            with pytest.raises(error, match=message):
                read(file)


@every_reader
@pytest.mark.parametrize(
    "content",
    [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\n", b"GIF89a", b"text"],
    ids=["empty", "EPS", "GIF", "text"],
)
def test_other_formats_are_not_decoded_whatever_the_suffix(tmp_path, read, content):
    (tmp_path / "frame.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"frame\.jpg.*empty or not an image of format"):
        read(tmp_path / "frame.jpg")


def test_a_mask_in_jpeg_is_refused_since_its_values_are_others(tmp_path):
    Image.fromarray(LABELS).save(tmp_path / "mask.png", "JPEG")
    with pytest.raises(ValueError, match=r"mask\.png.*not an image of format PNG"):
        read_mask(tmp_path / "mask.png")


def test_metadata_that_nobody_can_read_are_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "f.jpg"
    Image.fromarray(RGB).save(path, exif=exif_of(6))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    start = content.index(b"Exif")
    for _ in range(200):
        damaged = bytearray(content)
        damaged[start + 6 + rng.integers(20)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).shape[:2] == image_size(path)
        except ValueError as error:
            assert str(path) in str(error)


# Kinds of frames


def test_alpha_is_dropped_and_the_colours_behind_it_stay(tmp_path):
    alpha = np.zeros((6, 8, 1), np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), RGB[..., ::-1])
    Image.fromarray(np.stack([LABELS, 255 - LABELS], axis=2)).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), np.stack([LABELS] * 3, axis=2))


def test_palettes_single_bits_and_16_bits_become_their_colours(tmp_path):
    palette = RGB.reshape(-1, 3)[:4]
    image = Image.fromarray(LABELS)
    image.putpalette(palette.reshape(-1).tolist())
    for options in ({}, {"transparency": 1}, {"transparency": bytes([0, 255, 7, 9])}):
        image.save(tmp_path / "p.png", **options)
        np.testing.assert_array_equal(read_image(tmp_path / "p.png"), palette[LABELS][..., ::-1])
    Image.fromarray(LABELS > 1).save(tmp_path / "1.png")
    expected = np.where(LABELS > 1, 255, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "1.png")[..., 1], expected)
    cv2.imwrite(str(tmp_path / "c.png"), RGB.astype(np.uint16) * 256 + 99)
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), RGB)  # the high bytes


def test_cmyk_jpegs_become_the_colours_that_they_were_made_of(tmp_path):
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "cmyk.jpg"), flat[..., ::-1], atol=4)


def test_16_bit_grey_is_refused_since_nobody_knows_its_range(tmp_path):
    Image.fromarray(LABELS.astype(np.uint16) * 300).save(tmp_path / "g.png")
    with pytest.raises(ValueError, match=r"g\.png: expected a frame.* of 8 bits.*I;16"):
        read_image(tmp_path / "g.png")
    with pytest.raises(ValueError, match=r"g\.png: expected an index mask.*I;16"):
        read_mask(tmp_path / "g.png")


# Masks


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("color", [GREY, PALETTE], ids=["grey", "palette"])
def test_masks_of_few_bits_hold_the_values_that_were_written(tmp_path, bits, color):
    values = LABELS if bits == 8 else LABELS % 2**bits
    if color == GREY:
        write_png(tmp_path / "m.png", (8, 6), bits, rows=rows_of(values.tolist(), bits))
    for options in ({}, {"transparency": 1}, {"transparency": b"\0\7"}):
        if color == PALETTE:  # with transparency too, which changes no label
            image = Image.fromarray(values)
            image.putpalette([0, 0, 0, 9, 9, 9, 7, 7, 7, 5, 5, 5])
            image.save(tmp_path / "m.png", bits=bits, **options)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), values)
        np.testing.assert_array_equal(read_mask_of_any_format(tmp_path / "m.png")[0], values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_frame_and_a_mask_with_the_same_exif_are_turned_alike(tmp_path, orientation):
    grey = np.stack([LABELS * 60] * 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "frame.png", exif=exif_of(orientation))
    Image.fromarray(LABELS).save(tmp_path / "mask.png", exif=exif_of(orientation))
    frame, mask = read_image(tmp_path / "frame.png"), read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(frame[..., 0], mask * 60)
    assert mask.shape == ((8, 6) if orientation >= 5 else (6, 8))
    for name in ("frame.png", "mask.png"):
        assert image_size(tmp_path / name) == mask.shape
        assert exif_orientation(tmp_path / name) == orientation


# Several pictures in one file


@pytest.mark.parametrize("suffix", [".tiff", ".webp", ".png"])
def test_files_of_several_pictures_are_refused_by_all_readers_and_of_one_taken(tmp_path, suffix):
    pages = [Image.new("RGB", (4, 3), (60 * k, 0, 0)) for k in range(3)]
    several, one = tmp_path / f"several{suffix}", tmp_path / f"one{suffix}"
    pages[0].save(several, save_all=True, append_images=pages[1:])
    pages[0].save(one, save_all=True)
    for read in (read_image, image_size, *([read_mask] if suffix == ".png" else [])):
        with pytest.raises(ValueError, match=rf"several{suffix}.*holds 3 pictures"):
            read(several)
    assert read_image(one).shape == (3, 4, 3)


def test_thumbnails_and_previews_are_no_pictures_of_their_own(tmp_path):
    """Scanners and cameras store a thumbnail in a TIFF as a page whose subfile type (tag 254) is 1;
    an MPO's second picture makes the first one brighter on an HDR screen."""
    picture, thumbnail = Image.new("RGB", (8, 6), (90, 90, 90)), Image.new("RGB", (4, 3))
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    for name, kind in (("scan.tiff", "TIFF"), ("phone.jpg", "MPO")):
        picture.save(tmp_path / name, kind, save_all=True, append_images=[thumbnail])
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 2
        assert read_image(tmp_path / name).tolist() == [[[90] * 3] * 8] * 6


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"version": "6.3", "shapes": [], "imagePath": "a.jpg"}', "labelme's annotations"),
        ('{"images": [], "annotations": [], "categories": []}', "in COCO's format"),
        ("<?xml version='1.0'?><annotations></annotations>", "annotations of CVAT"),
    ],
)
def test_annotations_that_are_given_as_a_mask_are_called_what_they_are(tmp_path, content, what):
    (tmp_path / "mask.png").write_text(content)
    with pytest.raises(ValueError, match=rf"mask\.png.*{what}.*Export index masks"):
        read_mask(tmp_path / "mask.png")
