"""Opening image files of strangers: nothing is decoded before it is known what it is and how large.

Only regular files of a few formats are opened, and by their headers those are refused whose pixels
would take too much memory.
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ..constants import MAX_MEGAPIXELS

FRAME_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
MASK_FORMATS = ("PNG",)  # JPEG changes values, and PPM scales them
DEFAULT_MAX_MEGAPIXELS = MAX_MEGAPIXELS
MOST_MEGAPIXELS = 178  # where Pillow's own limit begins

# What Pillow's decoders and readers of metadata raise for content that is none of theirs.
_DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError),
    struct.error,
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


FORMATS_OF_PAGES = {"TIFF": "TIFF file", "WEBP": "animated WebP", "PNG": "animated PNG"}
_SUBFILE_TYPE = 254  # of a page of a TIFF: bit 0 marks a reduced copy, bit 2 a mask of transparency
# What a file of annotations holds near its start -> what it is.
_ANNOTATIONS = (
    (rb'"shapes"|"imagePath"', "labelme's annotations"),
    (rb'"annotations"|"categories"|"segmentation"', "annotations in COCO's format"),
    (rb'"_via_|"regions"', "annotations of VIA"),
    (rb"<annotations|<annotation", "annotations of CVAT or in VOC's format"),
)
_START = 1 << 16  # bytes


class SeveralPagesError(Exception):
    """An image file holds more than one picture."""


class TooLargeError(ValueError):
    """An image of too many pixels."""


def check_max_megapixels(value: float) -> None:
    """
    Args:
        value: millions of pixels that an image may have.

    Raises:
        ValueError: it is not above 0, or above ``MOST_MEGAPIXELS``.
    """
    if not 0 < value <= MOST_MEGAPIXELS:
        raise ValueError(
            f"INPUT.MAX_MEGAPIXELS (--max-megapixels): expected a number above 0 and at most "
            f"{MOST_MEGAPIXELS}, got {value}. Scale larger images down."
        )


@contextmanager
def opened_image(
    file_name: str | PathLike,
    expected: str,
    formats: tuple[str, ...] = FRAME_FORMATS,
    max_megapixels: float = MOST_MEGAPIXELS,
) -> Iterator[Image.Image]:
    """An image file, opened and not decoded. What decoding it raises within names the file too.

    Args:
        file_name: the file.
        expected: what it should be, for errors.
        formats: Pillow's names of those that it may have.
        max_megapixels: millions of pixels that it may have; see ``check_max_megapixels``.

    Raises:
        FileNotFoundError: no such file.
        OSError: the system does not let it be read.
        ValueError: it is no regular file, empty, of no such format, too large, or damaged.
    """
    _check_regular(file_name, expected)
    try:
        with open(file_name, "rb") as file, Image.open(file, formats=formats) as image:
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise Image.DecompressionBombError(f"{width}x{height} pixels, width x height")
            if (pages := _pages(image)) > 1:
                raise SeveralPagesError(f"{FORMATS_OF_PAGES[str(image.format)]} holds {pages}")
            yield image
    except SeveralPagesError as error:
        raise ValueError(
            f"{file_name}: expected {expected}, but this {error} pictures, and which is meant "
            "can't be told. Write each into a file of its own; an animation is a "
            "video, which cffm demo takes."
        ) from None
    except Image.DecompressionBombError as error:
        raise TooLargeError(
            f"{file_name}: expected {expected}, but it is too large to be decoded ({error}). "
            f"INPUT.MAX_MEGAPIXELS (--max-megapixels) is {max_megapixels}. Scale it down, or "
            f"raise the limit, to {MOST_MEGAPIXELS} at most."
        ) from error
    except UnidentifiedImageError:
        what_to_do = _annotations(file_name) or (
            "Restore it from the dataset's archive, or convert it."
        )
        raise ValueError(
            f"{file_name}: expected {expected}, but the file is empty or not an image of format "
            f"{' or '.join(formats)}. {what_to_do}"
        ) from None
    except _DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _unreadable(file_name, expected, error) from error
        raise ValueError(
            f"{file_name}: expected {expected}, but it can't be decoded ({error}). The file is "
            "damaged; restore it from the dataset's archive."
        ) from error


def raw_mode(image: Image.Image) -> str:
    """How the pixels of an opened and not yet decoded file are stored: "L;4", "RGB;16B"."""
    (tile, *_) = getattr(image, "tile", None) or [None]
    return tile[3] if tile is not None and isinstance(tile[3], str) else image.mode


def _pages(image: Image.Image) -> int:
    """How many pictures a file holds. Reduced copies in a TIFF, such as thumbnails, don't count.

    The second picture in a camera's JPEG (MPO) is such a copy too, or the map of an HDR picture.
    """
    number = getattr(image, "n_frames", 1) if image.format in FORMATS_OF_PAGES else 1
    if number == 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return number
    whole = 0
    for page in range(number):
        image.seek(page)
        whole += not image.tag_v2.get(_SUBFILE_TYPE, 0) & 0b101
    image.seek(0)
    return whole


def _annotations(file_name: str | PathLike) -> str | None:
    """What a file of annotations is, and what to do; None for any other file."""
    with open(file_name, "rb") as file:
        start = file.read(_START)
    if not start.lstrip().startswith((b"{", b"[", b"<")):
        return None
    kinds = (kind for pattern, kind in _ANNOTATIONS if re.search(pattern, start))
    return (
        f"It holds {next(kinds, 'text, perhaps annotations')}: outlines and names, not pixels. "
        "Export index masks from the program that wrote it, a PNG for every frame whose values are "
        "class numbers, and name these in `masks`."
    )


def _check_regular(file_name: str | PathLike, expected: str) -> None:
    """A pipe would be waited for without end, and a device may do anything."""
    try:
        mode = os.stat(file_name).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file_name}: expected {expected}, but there is no such file. "
            "Is the dataset complete? datasets/README.md shows its layout."
        ) from None
    except OSError as error:
        raise _unreadable(file_name, expected, error) from error
    except ValueError as error:
        raise ValueError(f"{file_name!r}: expected {expected}, but this is no path.") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise ValueError(
            f"{file_name}: expected {expected}, but this is {kind}. Only regular files are read."
        )


def _unreadable(file_name: str | PathLike, expected: str, error: OSError) -> OSError:
    """The system's error (no permission, a loop of links, a broken disk) with the file's name."""
    return OSError(
        error.errno, f"{file_name}: expected {expected}, but it can't be read ({error.strerror})."
    )
