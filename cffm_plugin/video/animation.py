"""Short animations for pages: WebP and GIF."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import whole_file
from .reading import SourceFrame

ANIMATION_SUFFIXES = (".webp", ".gif")
_QUALITY = 60  # of WebP, 0..100


class AnimationWriter:
    """A picture that moves, without end. It is kept in memory until it is whole.

    Args:
        path: .webp, lossy, or .gif, which has 256 colours and is several times as large.
        rate: pictures per second.
        width: of the pictures, in pixels; the height follows. None leaves them as they are.

    Raises:
        ValueError: another suffix.
    """

    def __init__(self, path: Path, rate: float, *, width: int | None = None):
        if path.suffix.lower() not in ANIMATION_SUFFIXES:
            raise ValueError(f"{path}: an animation is one of {', '.join(ANIMATION_SUFFIXES)}.")
        self.path = path
        self.rate = rate
        self.width = width
        self._pictures: list[Image.Image] = []

    def write(self, frame: SourceFrame, picture: np.ndarray) -> None:
        """The next picture, (H, W, 3) uint8, red-green-blue."""
        image = Image.fromarray(picture)
        if self.width is not None:
            size = self.width, max(1, round(image.height * self.width / image.width))
            image = image.resize(size, Image.Resampling.LANCZOS)
        self._pictures.append(image)

    def close(self) -> None:
        """
        Raises:
            OSError: the file can't be written.
        """
        if not self._pictures:
            return
        first, *others = self._pictures
        self._pictures = []
        is_webp = self.path.suffix.lower() == ".webp"
        options: dict[str, Any] = {"quality": _QUALITY, "method": 6} if is_webp else {}
        with whole_file(self.path) as partial:
            first.save(
                partial,
                save_all=True,
                append_images=others,
                duration=round(1000 / self.rate),
                loop=0,
                **options,
            )
