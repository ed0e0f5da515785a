"""Pictures of image files that move: what FFmpeg does not read, and how many there are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .decoding import IncompleteVideoError

_NO_DELAY = 100  # milliseconds that browsers take for 0
_FORMATS = ("WEBP", "GIF", "PNG", "AVIF")  # that may move


def count_pictures(path: Path) -> tuple[int, tuple[int, int]]:
    """How many pictures an image file has, and their height and width, by its header.

    Raises:
        ValueError: it is none that may move, or damaged, or too large for Pillow.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return getattr(image, "n_frames", 1), (image.height, image.width)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: can't be read as an animation ({error}).") from error


def read_webp(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Seconds since the first picture, and the picture, (H, W, 3) uint8, blue-green-red.

    Raises:
        IncompleteVideoError: after the last one that can be read.
    """
    with Image.open(path, formats=_FORMATS) as animation:
        count, milliseconds = getattr(animation, "n_frames", 1), 0
        for index in range(count):
            try:
                animation.seek(index)
                animation.load()
            except (OSError, EOFError) as error:
                raise IncompleteVideoError(
                    f"{path}: incomplete: {index} frames came of {count} ({error})."
                ) from error
            picture = np.asarray(animation.convert("RGB"))
            yield milliseconds / 1000, np.ascontiguousarray(picture[..., ::-1])
            milliseconds += animation.info.get("duration") or _NO_DELAY
