"""Where the frames of a video come from: image files, a video file, the network or a camera.

Video files are read with PyAV, which knows a file's frame rate exactly and which way up it is.
"""

import glob
import itertools
import logging
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..constants import IMAGE_RATE
from ..data import DEFAULT_MAX_MEGAPIXELS, check_max_megapixels, read_image
from ..data.datasets.records import natural_order, visible_files
from ..libraries import OptionalLibrary
from .decoding import decode, import_av, look_ahead
from .shown import shown_stream
from .webp import count_pictures, read_webp

cv2 = OptionalLibrary("cv2", "A camera")

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
ANIMATION_SUFFIXES = (".gif", ".webp", ".png", ".apng", ".avif")  # may hold several pictures
DEFAULT_RATE = Fraction(IMAGE_RATE)  # frames per second, where nothing says it
TIMEOUT = 10.0  # seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceFrame:
    """A frame of a video.

    Attributes:
        name: to name files after; unique in its video.
        image: (H, W, 3) uint8, blue-green-red.
        seconds: since the first frame.
        pixel_aspect: how wide pixels are shown for their height.
    """

    name: str
    image: np.ndarray
    seconds: float
    pixel_aspect: Fraction = Fraction(1)


class FrameSource:
    """A video to read once, frame by frame.

    Attributes:
        rate: frames per second; None where they come at irregular times. ``SourceFrame.seconds``
            is always the time.
        num_frames: None where it is not known; for video files about right.
        files: what it reads.
    """

    rate: Fraction | None = None
    num_frames: int | None = None
    files: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[SourceFrame]:
        raise NotImplementedError


class ImageFiles(FrameSource):
    """Image files as one video, in natural order of their paths. Names are the files' stems.

    Args:
        inputs: folders, globs or files.
        rate: frames per second.
        max_megapixels: see ``read_image``.

    Raises:
        FileNotFoundError: there is no such file, or a folder or glob has no images.
        ValueError: a file is no image by its suffix, or two have the same stem; the limit is none.
    """

    def __init__(
        self,
        inputs: Sequence[str | PathLike],
        rate: Fraction = DEFAULT_RATE,
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    ):
        check_max_megapixels(max_megapixels)
        self._max_megapixels = max_megapixels
        found = {file for given in inputs for file in _find_images(Path(given).expanduser())}
        self.files = tuple(sorted(found, key=lambda file: natural_order(str(file))))
        self.rate, self.num_frames = rate, len(self.files)
        by_stem: dict[str, Path] = {}
        for file in self.files:
            other = by_stem.setdefault(file.stem, file)
            if other != file:
                raise ValueError(
                    f"{other} and {file} have the same name, but the images are the frames of one "
                    "video. Name one video's frames."
                )

    def __iter__(self) -> Iterator[SourceFrame]:
        assert self.rate is not None
        for index, file in enumerate(self.files):
            image = read_image(file, self._max_megapixels)
            yield SourceFrame(file.stem, image, float(index / self.rate))


class VideoFile(FrameSource):
    """The frames of a video file, turned as its metadata say. Names are indices, 8 digits.

    Args:
        path: the file; ``~`` is expanded.
        max_pixels: frames of more pixels are an error, before any is decoded; None for no limit.
        map_colors: HDR and wide gamuts become BT.709; False leaves their numbers.

    Attributes:
        start: time stamp of the first frame, in seconds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty or damaged, or not a video; or its frames are too large, also when
            it is read.
        IncompleteVideoError: when it is read, after its last frame: see ``decode``.
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(
        self, path: str | PathLike, max_pixels: int | None = None, *, map_colors: bool = True
    ):
        self._av = import_av()
        self._max_pixels, self._map_colors = max_pixels, map_colors
        self.path = Path(path).expanduser()
        if self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: is a folder, not a video file.")
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: there is no such file.")
        if not self.path.stat().st_size:
            raise ValueError(f"{self.path}: the file is empty, expected a video.")
        self.files = (self.path,)
        try:
            with self._av.open(self.path) as container:
                self._read_header(container)
        except self._av.FFmpegError as error:
            raise ValueError(
                f"{self.path}: expected a video, but the file is damaged, or something else "
                f"({error.strerror})."
            ) from error

    def __iter__(self) -> Iterator[SourceFrame]:
        for frame in self._frames():
            self._check_size(*frame.image.shape[:2])  # a header may say anything
            yield frame

    def _frames(self) -> Iterator[SourceFrame]:
        if self._is_animated_webp:
            yield from _numbered((*picture, Fraction(1)) for picture in read_webp(self.path))
            return
        with self._av.open(self.path) as container:
            yield from _numbered(decode(container, str(self.path), map_colors=self._map_colors))

    def _read_header(self, container: Any) -> None:
        self.start = 0.0
        self._is_animated_webp = False
        if container.format.name == "webp_pipe":
            count, size = count_pictures(self.path)
            self._is_animated_webp = count > 1
            if self._is_animated_webp:
                self._check_size(*size)
                self.num_frames = count
                return
        stream = shown_stream(container)
        if stream is None:
            raise ValueError(f"{self.path}: the file holds no video, or is cut off.")
        self._check_size(stream.height, stream.width)
        facts = look_ahead(container, stream)
        if facts is None:
            raise ValueError(f"{self.path}: the video has no frames, or is cut off.")
        self.start, self.rate, self.num_frames = facts.start, facts.rate, facts.num_frames
        if facts.varies:
            self.rate = None
            logger.info("%s: the frame rate varies; every frame keeps its time", self.path)
        elif facts.rate is None:
            self.rate = DEFAULT_RATE
            logger.warning("%s: the frame rate is unknown; %s is taken", self.path, DEFAULT_RATE)

    def _check_size(self, height: int, width: int) -> None:
        if self._max_pixels is not None and height * width > self._max_pixels:
            raise ValueError(
                f"{self.path}: frames of {width}x{height} pixels are {height * width}, and the "
                f"limit is {self._max_pixels}."
            )


class NetworkStream(FrameSource):
    """The frames of a stream from the network, read once, whether or not it ends.

    Args:
        url: an address for which ``is_url``.
        timeout: seconds to wait for an answer, and for every packet.
        map_colors: as of ``VideoFile``.

    Raises:
        OSError: there is no connection, or no answer in time.
        ValueError: what comes is no video.
        IncompleteVideoError: when it is read: the connection was lost, or see ``decode``.
        ModuleNotFoundError: PyAV is not installed.
    """

    SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")

    def __init__(self, url: str, timeout: float = TIMEOUT, *, map_colors: bool = True):
        av = import_av()
        self._map_colors = map_colors
        self.name = re.sub("//[^/]*@", "//", url)  # errors and logs hold no password
        options = {"rtsp_flags": "prefer_tcp"} if url.lower().startswith("rtsp") else {}
        start = time.monotonic()
        try:
            self._container = av.open(url, options=options, timeout=timeout)
        except av.FFmpegError as error:
            if time.monotonic() - start >= timeout:
                raise OSError(f"{self.name}: no answer in {timeout:g} seconds.") from None
            kind = ValueError if isinstance(error, ValueError) else OSError
            raise kind(f"{self.name}: can't be opened as a video ({error.strerror}).") from None
        if shown_stream(self._container) is None:
            self._container.close()
            raise ValueError(f"{self.name}: the stream holds no video.")

    @classmethod
    def is_url(cls, name: str) -> bool:
        """Whether this is an address and not a file."""
        return name.lower().startswith(tuple(f"{scheme}://" for scheme in cls.SCHEMES))

    def __iter__(self) -> Iterator[SourceFrame]:
        with self._container:
            yield from _numbered(decode(self._container, self.name, map_colors=self._map_colors))


def open_images(
    inputs: Sequence[str | PathLike],
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    *,
    map_colors: bool = True,
) -> ImageFiles | VideoFile:
    """Images as the frames of one video; or the pictures of one file that moves.

    Args:
        inputs, max_megapixels: as of ``ImageFiles``, which says what is raised.
        map_colors: as of ``VideoFile``.
    """
    if len(inputs) == 1:
        path = Path(inputs[0]).expanduser()
        if path.suffix.lower() in ANIMATION_SUFFIXES and path.is_file():
            count = 1
            with suppress(ValueError):  # said by what reads it
                count, _ = count_pictures(path)
            if count > 1:
                check_max_megapixels(max_megapixels)
                return VideoFile(path, int(max_megapixels * 1e6), map_colors=map_colors)
    return ImageFiles(inputs, max_megapixels=max_megapixels)


class Webcam(FrameSource):
    """What a camera sees, without end. Names are indices, 8 digits.

    Args:
        camera_id: OpenCV's number of the camera.

    Raises:
        OSError: the camera can't be opened. When it is read: it has stopped.
    """

    def __init__(self, camera_id: int = 0):
        self.camera_id = camera_id
        # OpenCV would tell in many lines what it tried.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(camera_id)
        if not self._capture.isOpened():
            raise OSError(
                f"Camera {camera_id} can't be opened. Is it there, is another program using it, "
                "and may you read it? --webcam 1 is the second camera."
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # no queue of old frames

    def __iter__(self) -> Iterator[SourceFrame]:
        start = None
        try:
            for index in itertools.count():
                there, image = self._capture.read()
                if not there:
                    raise OSError(f"Camera {self.camera_id} gives no more frames.")
                now = time.monotonic()
                start = now if start is None else start
                yield SourceFrame(f"{index:08d}", image, now - start)
        finally:
            self._capture.release()


def _find_images(given: Path) -> list[Path]:
    """The images of a folder, a glob or a file."""
    if given.is_dir():
        found = [given / name for name in visible_files(given, IMAGE_SUFFIXES)]
    elif given.is_file():
        if given.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(
                f"{given}: not an image ({', '.join(IMAGE_SUFFIXES)}). Videos are for "
                "--video-input."
            )
        found = [given]
    else:
        matches = map(Path, glob.glob(str(given), recursive=True))
        found = [match for match in matches if match.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise FileNotFoundError(f"{given}: there are no images ({', '.join(IMAGE_SUFFIXES)}).")
    return found


def _numbered(frames: Iterable[tuple[float, np.ndarray, Fraction]]) -> Iterator[SourceFrame]:
    for index, (seconds, image, pixel_aspect) in enumerate(frames):
        yield SourceFrame(f"{index:08d}", image, seconds, pixel_aspect)
