"""A video by its name."""

import re
from os import PathLike
from pathlib import Path

from .reading import FrameSource, NetworkStream, VideoFile, Webcam, open_images


def open_frames(source: str | PathLike | int) -> FrameSource:
    """The frames of a video file, a folder or glob of images, an address or a camera.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, OSError: it can't be read.
    """
    if isinstance(source, int):
        return Webcam(source)
    name = str(source)
    if NetworkStream.is_url(name):
        return NetworkStream(name)
    path = Path(name).expanduser()
    if path.is_dir() or re.search(r"[*?\[]", path.name):
        return open_images([name])
    return VideoFile(name)
