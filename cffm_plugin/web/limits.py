"""What the page takes, and how it says so."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..video.reading import SourceFrame, VideoFile

HIGHEST_RATE = 60  # frames per second; a video of more is cut earlier


@dataclass(frozen=True)
class Limits:
    """
    Attributes:
        megabytes: of a file; larger ones are refused.
        seconds: of a video; longer ones are cut, at HIGHEST_RATE frames for each second too.
        pixels: of a frame; larger ones are refused.
    """

    megabytes: float
    seconds: float
    pixels: int

    def __str__(self) -> str:
        return (
            f"files of up to {self.megabytes:g} MB, frames of up to {self.pixels} pixels; of "
            f"videos longer than {self.seconds:g} seconds the start"
        )

    @property
    def num_frames(self) -> int:
        return max(1, int(self.seconds * HIGHEST_RATE))

    def open(self, path: Path) -> "LimitedVideo":
        """
        Raises:
            ValueError: the file is too large, its frames are, or it is no video that can be read.
        """
        size = path.stat().st_size / 1e6
        if size > self.megabytes:
            raise ValueError(
                f"{path.name}: the file has {size:.1f} MB, and the limit is {self.megabytes:g} MB."
            )
        return LimitedVideo(VideoFile(path, max_pixels=self.pixels), self)


class LimitedVideo:
    """A video up to its limit.

    Attributes:
        source: the whole of it.
        num_frames: about how many come; None where the file does not say.
        was_cut: whether there was more, known when it was read.
    """

    def __init__(self, source: VideoFile, limits: Limits):
        self.source = source
        self.limits = limits
        self.was_cut = False

    @property
    def num_frames(self) -> int | None:
        known = self.source.num_frames
        if known is None:
            return None
        rate = float(self.source.rate or HIGHEST_RATE)
        return min(known, self.limits.num_frames, max(1, int(rate * self.limits.seconds)))

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, frame in enumerate(self.source):
            if frame.seconds >= self.limits.seconds or index >= self.limits.num_frames:
                self.was_cut = True
                return
            yield frame
