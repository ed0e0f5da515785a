"""Reading frames and index masks, with errors that name the file and say what to do."""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from os import PathLike
from typing import IO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from .image_opening import DEFAULT_MAX_MEGAPIXELS, MASK_FORMATS, opened_image, raw_mode
from .mask_encoding import PLAIN, MaskEncoding, what_to_write

IGNORE_LABEL = 255
MOST_CLASSES = 255  # what 8 bits hold beside it
ONE_CLASS = (
    "With one class there is nothing to learn: the loss is 0 and every pixel is right. Name what "
    "is not it too, such as classes: [background, lesion]"
)
FRAME_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits or fewer


@dataclass(frozen=True)
class LabelMapping:
    """How the values in a dataset's mask files become class indices.

    Attributes:
        num_classes: K, 2 to 255; class indices are 0..K-1, since 255 means "no class".
        class_of: raw mask value -> class index, for every value that stands for a class.
        void: raw values that mean "no class". They become ``IGNORE_LABEL`` (255).
        encoding: how the raw values stand in the files.
        assumed: which of "label_mapping" and "void" nobody has said, so that a default stands
            here. Where masks may mean something else, that is asked.

    Values named by neither are foreign: they become ``IGNORE_LABEL`` too, and ``foreign_values``
    finds them, so that callers can say so.
    """

    num_classes: int
    class_of: dict[int, int] = field(hash=False)
    void: tuple[int, ...] = (IGNORE_LABEL,)
    encoding: MaskEncoding = PLAIN
    assumed: frozenset[str] = field(default=frozenset(), compare=False)
    _table: np.ndarray = field(init=False, repr=False, compare=False)
    _known: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 2 <= self.num_classes <= MOST_CLASSES:
            what_to_do = ONE_CLASS if self.num_classes == 1 else "Merge or leave out some"
            raise ValueError(
                f"LabelMapping: expected 2 to {MOST_CLASSES} classes, since label maps of 8 bits "
                f'hold one more value for "no class"; got {self.num_classes}. {what_to_do}.'
            )
        table = np.full(256, IGNORE_LABEL, dtype=np.uint8)
        known = np.zeros(256, dtype=bool)
        known[list(self.void)] = True
        both = sorted(set(self.void) & set(self.class_of))
        if both:
            raise ValueError(f"LabelMapping: raw values {both} are named both void and a class")
        for raw, index in self.class_of.items():
            if not (0 <= raw <= 255 and 0 <= index < self.num_classes):
                raise ValueError(
                    f"LabelMapping: raw value {raw} -> class {index} is outside 0..255 -> "
                    f"0..{self.num_classes - 1}"
                )
            table[raw] = index
            known[raw] = True
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_known", known)

    @classmethod
    def shifted_by_one(cls, num_classes: int) -> "LabelMapping":
        """VSPW's: class k is stored as k + 1; 0 and 255 are void.

        Raises:
            ValueError: there are more than 254 classes.
        """
        if num_classes >= MOST_CLASSES:
            raise ValueError(
                f"Masks of 8 bits whose classes count from 1, and whose values 0 and 255 mean "
                f'"no class", as VSPW\'s do, hold at most {MOST_CLASSES - 1} classes; got '
                f"{num_classes}. Count from 0 (register_video_folder), or merge some."
            )
        return cls(num_classes, {k + 1: k for k in range(num_classes)}, void=(0, IGNORE_LABEL))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Raw mask, uint8 -> class indices, uint8 of the same shape, 255 where there is none."""
        return self._table[raw]

    def read(
        self, file_name: str | PathLike, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
    ) -> np.ndarray:
        """``read_mask`` of a mask file of this ``encoding``."""
        return read_mask(file_name, max_megapixels, self.encoding)

    def foreign_values(self, raw: np.ndarray) -> list[int]:
        """The values in ``raw`` that stand for neither a class nor void, ascending."""
        present = np.bincount(raw.reshape(-1), minlength=256) > 0
        return np.flatnonzero(present & ~self._known).tolist()


def read_image(
    file_name: str | PathLike, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> np.ndarray:
    """Read a frame, (H, W, 3) uint8, blue-green-red.

    EXIF orientation is applied. Grey, palette and CMYK become colours; alpha is dropped, the
    colours behind it stay; of 16 bits a colour channel the high 8 are taken.

    Args:
        file_name: the file.
        max_megapixels: a larger image, in millions of pixels, is not decoded.

    Raises:
        OSError, ValueError: see ``opened_image``; ValueError also of a picture of one number a
            pixel that has more than 8 bits.
    """
    rgb = read_rgb(file_name, max_megapixels)
    return _reversed_channels()(rgb)


@cache
def _reversed_channels() -> Callable[[np.ndarray], np.ndarray]:
    try:
        import cv2
    except ImportError:  # there is none, or one that lacks a library of the system's
        return lambda image: np.ascontiguousarray(image[:, :, ::-1])
    return lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # a tenth of the time


def read_rgb(
    file_name: str | PathLike, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> np.ndarray:
    """As ``read_image``, red-green-blue; not to be written to."""
    expected = "a frame (JPEG or PNG)"
    with opened_image(file_name, expected, max_megapixels=max_megapixels) as image:
        image.load()
        mode = image.mode
        if mode in FRAME_MODES:
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(image.convert("RGB"))
    raise ValueError(
        f"{file_name}: expected {expected} of 8 bits a channel, but this is a picture of mode "
        f"{mode}. Which of its values are black and white can't be told: bring them to 0..255 and "
        "save it again."
    )


def read_mask(
    file_name: str | PathLike,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    encoding: MaskEncoding = PLAIN,
) -> np.ndarray:
    """Read a mask, (H, W) uint8: the raw values as they stand in the file, by default alone.

    EXIF orientation is applied, as to frames.

    Args:
        file_name, max_megapixels: as for ``read_image``.
        encoding: how the values stand in the file.

    Raises:
        OSError, ValueError: see ``opened_image``; ValueError also of a picture of another encoding,
            with how to say its own.
    """
    expected = encoding.expected
    with opened_image(file_name, expected, MASK_FORMATS, max_megapixels) as image:
        mode, stored = image.mode, raw_mode(image)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        values = encoding.decode(image, stored)
        pixels = np.asarray(image) if values is None else None
    if values is None:
        assert pixels is not None
        raise ValueError(
            f"{file_name}: expected {expected}, but this is a picture of mode {mode}. "
            f"{what_to_write(pixels, mode, stored)}"
        )
    if values.dtype != np.uint8:
        if values.max() > 255:
            raise ValueError(
                f"{file_name}: expected {expected}, but divided its values are up to "
                f"{values.max()}, and class numbers are 0..255. Correct mask_values in the YAML "
                "file of DATASETS.VIDEO_FOLDERS."
            )
        values = values.astype(np.uint8)
    return values


def save_label_map(
    file: str | PathLike, labels: np.ndarray, colors: Sequence[Sequence[int]]
) -> None:
    """Write a label map (H, W) uint8 as a palette PNG whose pixel values are class indices."""
    image = Image.fromarray(labels)
    image.putpalette([int(channel) for color in colors for channel in color])
    image.save(file)


def image_to_tensor(image: np.ndarray, image_format: str) -> torch.Tensor:
    """(H, W, 3) blue-green-red -> (3, H, W) of the same type, in ``image_format``, RGB or BGR."""
    channels_first = image.transpose(2, 0, 1)
    if image_format == "RGB":
        channels_first = channels_first[::-1]
    return torch.from_numpy(np.ascontiguousarray(channels_first))


def image_size(file_name: str | PathLike) -> tuple[int, int]:
    """(height, width) of an image file as ``read_image`` would give it. Decodes no pixel.

    Raises:
        OSError, ValueError: see ``opened_image``.
    """
    with opened_image(file_name, "an image") as image:
        width, height = image.size
        # 5 to 8 turn by 90 degrees. A TIFF's size is turned already.
        swaps_sides = image.format != "TIFF" and _orientation(image) >= 5
    return (width, height) if swaps_sides else (height, width)


def exif_orientation(file_name: str | PathLike) -> int:
    """How ``read_image`` and ``read_mask`` turn an image file: EXIF's number, 1 for not at all.

    Raises:
        OSError, ValueError: see ``image_size``.
    """
    with opened_image(file_name, "an image") as image:
        return _orientation(image)


def _orientation(image: Image.Image) -> int:
    if isinstance(image, PngImagePlugin.PngImageFile) and image.fp is not None:
        with PngImagePlugin.PngImageFile(_without_pixels(image.fp)) as rest:
            # The method of PNGs would decode.
            exif = Image.Image.getexif(rest)
    else:
        exif = image.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _without_pixels(file: IO[bytes]) -> BytesIO:
    """The chunks of a PNG file that may tell its orientation, which may stand behind the pixels."""
    file.seek(0)
    chunks = [file.read(8)]
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise OSError("image file is truncated")
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IHDR", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"IEND"):
            chunks.append(head + file.read(length + 4))  # with the checksum
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return BytesIO(b"".join(chunks))
