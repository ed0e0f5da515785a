"""Reading frames and index masks, with errors that name the file and say what to do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..libraries import OptionalLibrary

cv2 = OptionalLibrary("cv2", "Reading frames")

IGNORE_LABEL = 255
_DECODER_ERRORS = (OSError, SyntaxError, ValueError)  # what Pillow's decoders raise


@dataclass(frozen=True)
class LabelMapping:
    """How the values in a dataset's mask files become class indices.

    Attributes:
        num_classes: K; class indices are 0..K-1.
        class_of: raw mask value -> class index, for every value that stands for a class.
        void: raw values that mean "no class". They become ``IGNORE_LABEL`` (255).

    Values named by neither are foreign: they become ``IGNORE_LABEL`` too, and ``foreign_values``
    finds them, so that callers can say so.
    """

    num_classes: int
    class_of: dict[int, int] = field(hash=False)
    void: tuple[int, ...] = (IGNORE_LABEL,)
    _table: np.ndarray = field(init=False, repr=False, compare=False)
    _known: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
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
        """VSPW's: class k is stored as k + 1; 0 and 255 are void."""
        return cls(num_classes, {k + 1: k for k in range(num_classes)}, void=(0, IGNORE_LABEL))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Raw mask, uint8 -> class indices, uint8 of the same shape, 255 where there is none."""
        return self._table[raw]

    def foreign_values(self, raw: np.ndarray) -> list[int]:
        """The values in ``raw`` that stand for neither a class nor void, ascending."""
        present = np.bincount(raw.reshape(-1), minlength=256) > 0
        return np.flatnonzero(present & ~self._known).tolist()


def read_image(file_name: str | PathLike) -> np.ndarray:
    """Read a frame, (H, W, 3) uint8, blue-green-red. EXIF orientation is applied.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, truncated or not an image.
    """
    image = _decode(file_name, "a frame (JPEG or PNG)")
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR)


def read_mask(file_name: str | PathLike) -> np.ndarray:
    """Read an index mask, (H, W) uint8, the raw values as they stand in the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, truncated, not an image, or a colour picture.
    """
    image = _decode(file_name, "an index mask (PNG with one channel)")
    if image.mode not in ("L", "P", "1"):
        raise ValueError(
            f"{file_name}: expected an index mask (8-bit PNG with one channel whose values are "
            f"class numbers), but this is a picture of mode {image.mode}. If it is a colour "
            "rendering of the labels, use the dataset's index masks instead, or map its colours "
            "back to class numbers."
        )
    return np.array(image, dtype=np.uint8)


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
    """(height, width) of an image file as ``read_image`` would give it.

    A JPEG's header is enough; a PNG's orientation may stand behind the pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty, not an image, or damaged before its size is known.
    """
    with _open(file_name, "an image") as image:
        width, height = image.size
        try:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        except _DECODER_ERRORS as error:
            raise ValueError(_damaged(file_name, "an image", error)) from error
    swaps_sides = orientation >= 5  # 5 to 8 turn by 90 degrees
    return (width, height) if swaps_sides else (height, width)


def _open(file_name: str | PathLike, expected: str) -> Image.Image:
    try:
        return Image.open(file_name)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file_name}: expected {expected}, but there is no such file. "
            "Is the dataset complete? datasets/README.md shows its layout."
        ) from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{file_name}: expected {expected}, but the file is empty or not an image. "
            "Restore it from the dataset's archive."
        ) from None
    except _DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # not the decoder's
            raise
        raise ValueError(_damaged(file_name, expected, error)) from error


def _decode(file_name: str | PathLike, expected: str) -> Image.Image:
    image = _open(file_name, expected)
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except _DECODER_ERRORS as error:
        raise ValueError(_damaged(file_name, expected, error)) from error


def _damaged(file_name: str | PathLike, expected: str, error: Exception) -> str:
    return (
        f"{file_name}: expected {expected}, but it can't be decoded ({error}). The file is "
        "damaged; restore it from the dataset's archive."
    )
