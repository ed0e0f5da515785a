"""Reading one image file as training would, and saying what is wrong with it.

Stricter than training in one thing: Pillow is content when every pixel has a value. A file whose
end is missing or full of zeros (an unfinished download) may pass so; here it does not.
"""

import io
import zlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG")  # JPEG, PNG
_PNG_SIGNATURE_BYTES = 8
_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"


class Problem(Enum):
    """Why a file can't be trusted. The names end those of ``Kind``."""

    EMPTY = "the file has no bytes"
    DAMAGED = "damaged"
    NOT_AN_IMAGE = "neither JPEG, PNG nor any other image"
    UNREADABLE = "the system does not open it"


@dataclass(frozen=True)
class Inspection:
    """An image file as it was found.

    Attributes:
        size: (height, width) after EXIF orientation; None where it can't be read.
        problem: None for a whole image.
        detail: about the problem.
        is_decoded: whether ``read_image`` and ``read_mask`` would get pixels. With a problem: they
            would not notice it.
        image: decoded, but for frames at a fraction of the size and without colour.
        bit_depth: bits per channel of a PNG file, otherwise 8.
    """

    size: tuple[int, int] | None = None
    problem: Problem | None = None
    detail: str = ""
    is_decoded: bool = False
    image: Image.Image | None = None
    bit_depth: int = 8


def inspect(path: Path, *, is_mask: bool) -> Inspection:
    """Read an image file to its last byte. Raises nothing, whatever the file holds."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Inspection(None, Problem.UNREADABLE, error.strerror or type(error).__name__)
    if not data:
        return Inspection(None, Problem.EMPTY, Problem.EMPTY.value)
    # `except Exception`: damaged files make Pillow's decoders raise all sorts of things.
    try:
        image = Image.open(io.BytesIO(data))
        size = _oriented_size(image)
    except UnidentifiedImageError:
        if data.startswith(_MAGIC):
            return Inspection(None, Problem.DAMAGED, "the header is cut off or damaged")
        return Inspection(None, Problem.NOT_AN_IMAGE, Problem.NOT_AN_IMAGE.value)
    except Exception as error:
        return Inspection(None, Problem.DAMAGED, str(error))
    try:
        if not is_mask:
            # A JPEG is decoded to its last byte all the same, but most pixels aren't computed.
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:
        return Inspection(size, Problem.DAMAGED, str(error))
    if not _is_whole(data, image.format):
        detail = "all pixels have values, but the file's end is missing or a checksum is wrong"
        return Inspection(size, Problem.DAMAGED, detail, is_decoded=True)
    bit_depth = data[24] if image.format == "PNG" else 8  # IHDR comes first
    return Inspection(size, is_decoded=True, image=image, bit_depth=bit_depth)


def _oriented_size(image: Image.Image) -> tuple[int, int]:
    """As ``image_size``, of which it must fail in the same cases."""
    width, height = image.size
    swaps_sides = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # 5 to 8 turn by 90
    return (width, height) if swaps_sides else (height, width)


def _is_whole(data: bytes, image_format: str | None) -> bool:
    if image_format in ("JPEG", "MPO"):
        if data.endswith(_END_OF_IMAGE):  # as most do; looking for it takes time
            return True
        return data.find(_END_OF_IMAGE, _end_of_jpeg_header(data)) >= 0
    return _png_is_whole(data) if image_format == "PNG" else True


def _end_of_jpeg_header(data: bytes) -> int:
    """Where the first scan starts. Before it there may be a thumbnail with an end of its own."""
    position = 2
    while (marker := data[position : position + 2])[:1] == b"\xff" and marker != _START_OF_SCAN:
        if marker == b"\xff\xff":  # markers may be padded
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def _png_is_whole(data: bytes) -> bool:
    """Whether all chunks are there with the right checksums, the last one included."""
    view = memoryview(data)
    start = _PNG_SIGNATURE_BYTES
    while start + 12 <= len(data):  # length, type, content, checksum
        end = start + 12 + int.from_bytes(view[start : start + 4], "big")
        checksum = int.from_bytes(view[end - 4 : end], "big")
        if end > len(data) or zlib.crc32(view[start + 4 : end - 4]) != checksum:
            return False
        if view[start + 4 : start + 8] == b"IEND":
            return True
        start = end
    return False
