"""A video by its name."""

import re
from os import PathLike
from pathlib import Path

from ..data import DEFAULT_MAX_MEGAPIXELS
from .reading import TIMEOUT, FrameSource, NetworkStream, VideoFile, Webcam, open_images


def open_frames(
    source: str | PathLike | int,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    map_colors: bool = True,
) -> FrameSource:
    """The frames of a video file, a folder or glob of images, an address or a camera.

    Args:
        source: what is there is no glob, whatever its name.
        max_megapixels: of images, see ``read_image``.
        map_colors: as of ``VideoFile``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, OSError: it can't be read.
    """
    if isinstance(source, int):
        return Webcam(source)
    name = str(source)
    if not NetworkStream.is_url(name):
        path = Path(name).expanduser()
        is_glob = re.search(r"[*?\[]", path.name) and not path.exists()
        if path.is_dir() or is_glob:
            return open_images([path], max_megapixels, map_colors=map_colors)
    return open_video(name, map_colors=map_colors)


def open_video(
    video: str, *, timeout: float = TIMEOUT, map_colors: bool = True
) -> NetworkStream | VideoFile:
    """The frames of a file or an address; see ``VideoFile`` and ``NetworkStream``."""
    if NetworkStream.is_url(video):
        return NetworkStream(video, timeout, map_colors=map_colors)
    return VideoFile(video, map_colors=map_colors)
