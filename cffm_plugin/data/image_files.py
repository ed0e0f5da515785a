"""What ``read_image`` and ``read_mask`` don't look for: files cut short, masks of other formats."""

import io
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import ImageOps, JpegImagePlugin, PngImagePlugin

from .image_opening import DEFAULT_MAX_MEGAPIXELS, MASK_FORMATS, opened_image, raw_mode
from .mask_encoding import INDEX_MODES, factor_of_grey


def is_whole(file_name: str | PathLike) -> bool:
    """Whether a JPEG or PNG file that can be read has its end and, a PNG, the right checksums.

    Pillow is content when every pixel has a value, as in many an unfinished download.
    """
    content = Path(file_name).read_bytes()
    file = io.BytesIO(content)
    if content.startswith(b"\xff\xd8"):
        JpegImagePlugin.JpegImageFile(file)  # reads up to the pixels, past any thumbnail
        return content.find(b"\xff\xd9", file.tell()) >= 0  # end of image
    if content.startswith(b"\x89PNG"):
        try:
            PngImagePlugin.PngImageFile(file).verify()
        except (OSError, SyntaxError):
            return False
        return b"IEND\xaeB`\x82" in content  # whose checksum `verify` does not look at
    return True


def read_mask_of_any_format(
    file_name: str | PathLike, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> tuple[np.ndarray, list[int] | None]:
    """The values of an index mask, (H, W) uint8, and its palette.

    Unlike ``read_mask`` it reads PNGs of 16 bits, and of several channels that are equal.

    Raises:
        OSError: the file can't be read.
        ValueError: the same, or it does not hold one number from 0 to 255 a pixel, for certain.
    """
    with opened_image(file_name, "an index mask", MASK_FORMATS, max_megapixels) as image:
        factor = factor_of_grey(raw_mode(image))
        ImageOps.exif_transpose(image, in_place=True)
        pixels, mode, palette = np.array(image), image.mode, image.getpalette()
    if mode in INDEX_MODES:
        return pixels.astype(np.uint8) // np.uint8(factor), palette
    channels = np.atleast_3d(pixels)
    if mode in ("RGBA", "LA") and (channels[..., -1] == 255).all():  # opaque
        mode, channels = mode[:-1], channels[..., :-1]
    # Of 16-bit pictures with several channels Pillow gives the high bytes; the header tells.
    is_cut = pixels.ndim == 3 and Path(file_name).read_bytes()[24] > 8
    is_one_channel = not mode.endswith("A") and not is_cut
    is_one_channel = is_one_channel and (channels == channels[..., :1]).all()
    if not is_one_channel or channels.min() < 0 or channels.max() > 255:
        raise ValueError(f"{file_name} does not hold one number from 0 to 255 a pixel.")
    return channels[..., 0].astype(np.uint8), None
