"""Where pictures and label maps go: a video file, folders of PNGs or a window."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..data import save_label_map
from ..files import whole_file
from ..libraries import OptionalLibrary
from .decoding import import_av
from .reading import SourceFrame, VideoFile
from .sound import SoundCopy

cv2 = OptionalLibrary("cv2", "A window")

VIDEO_SUFFIXES = (".mp4", ".mkv")

_QUALITY = {"crf": "20", "preset": "fast"}
_BT709 = 1  # in ffmpeg's numbering of primaries, transfer functions and matrices
_LIMITED_RANGE = 1
_RATE = Fraction(30)  # that the encoder counts in, where nothing says the rate
_TICKS = 1_000_000  # per second: times that are even multiples of any frame rate survive
_LEAST_TICKS = 1000  # between pictures: Matroska's times are in milliseconds
_ESCAPE = 27
_TITLE = "CFFM"

logger = logging.getLogger(__name__)


class _AbandonedError(Exception):
    """Nobody wants the file that is being written."""


class PictureSink(Protocol):
    """Takes the pictures of a video's frames."""

    def write(self, frame: SourceFrame, picture: np.ndarray) -> None:
        """The next picture, (H, W, 3) uint8, red-green-blue."""

    def close(self) -> None:
        """No more come. May be called twice."""


class WindowClosedError(Exception):
    """The person has closed the window."""


def open_output(
    path: str, rate: Fraction | None, sound_of: VideoFile | None = None, *, keep_times: bool = False
) -> "VideoWriter | PictureFolder":
    """A video file for a path with a video's suffix, else a folder of PNGs.

    Args:
        path: ``~`` is expanded.
        rate, keep_times: of the video; see ``VideoWriter``.
        sound_of: whose sound is copied into the video.

    Raises:
        ValueError: another suffix, what is there already is of the other kind, or the sound does
            not go there.
    """
    target = Path(path).expanduser()
    is_named_folder = path.endswith(("/", os.sep))
    suffix = "" if is_named_folder else target.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        sound = SoundCopy(sound_of, suffix) if sound_of else None
        return VideoWriter(target, rate, sound, keep_times=keep_times)
    if suffix and not target.is_dir():
        raise ValueError(
            f"{path}: unknown suffix {target.suffix}. Name a video, {' or '.join(VIDEO_SUFFIXES)}; "
            "or a folder for a PNG per frame, without a suffix or with / at its end."
        )
    if sound_of is not None:
        raise ValueError(f"{path}: a folder of pictures can't keep audio: name a video.")
    return PictureFolder(target)


class VideoWriter:
    """H.264 (yuv420p, BT.709) in MP4 or Matroska.

    The file is there, and plays, once ``close`` was called after one picture or more. Until then it
    has a hidden name beside it, and a file that was there is as it was. H.264 in yuv420p has even
    sides: an odd one is padded by repeating the last column or row. Pixels are shown as wide as the
    first frame's ``pixel_aspect`` says.

    Args:
        path: the file; what is there is replaced.
        rate: pictures per second; None to show each from its frame's ``seconds`` on.
        sound: what is heard, until the last picture's end.
        keep_times: each picture is shown from its frame's ``seconds`` on, also where there is a
            rate. With sound they always are, for both to keep together.

    Raises:
        ValueError: the path is a folder.
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(
        self,
        path: Path,
        rate: Fraction | None,
        sound: SoundCopy | None = None,
        *,
        keep_times: bool = False,
    ):
        self._av = import_av()
        if path.is_dir():
            raise ValueError(f"{path} is a folder, but by its suffix it is to be a video file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rate, self.sound = path, rate, sound
        self._keep_times = keep_times or rate is None or sound is not None
        self._container: Any = None
        self._stream: Any = None
        self._file = ExitStack()  # makes the hidden file that of the path
        self._size = (0, 0)
        self._step = 1 / (rate or _RATE)  # seconds
        self._count = 0  # of pictures
        self._ticks: dict[int, int] = {}  # number of a picture -> its time, while it is needed
        self._last = -_LEAST_TICKS  # time of the last picture
        self._gap = round(self._step * _TICKS)  # before it; it lasts as long as the one before

    def write(self, frame: SourceFrame, picture: np.ndarray) -> None:
        """
        Raises:
            ValueError: the picture has another size than the first; or this PyAV has no H.264.
            OSError: the file can't be written.
        """
        size = picture.shape[:2]
        if self._container is None:
            self._open(size, frame.pixel_aspect)
        if size != self._size:
            raise ValueError(
                f"Frame {frame.name} makes a picture of {size[1]}x{size[0]} (width x height), the "
                f"ones before {self._size[1]}x{self._size[0]}, and a video has one size. For "
                "pictures of several sizes, let --output be a folder."
            )
        height, width = size
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        encoded = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        encoded = encoded.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        encoded.time_base, encoded.pts = self._step, self._count
        tick = round((frame.seconds if self._keep_times else self._count * self._step) * _TICKS)
        tick = max(tick, self._last + _LEAST_TICKS)
        if self._count:
            self._gap = tick - self._last
        self._ticks[self._count] = self._last = tick
        self._count += 1
        self._mux(self._container, self._stream.encode(encoded))
        if self.sound is not None:
            self.sound.copy_until(tick / _TICKS)

    def _mux(self, container: Any, packets: list[Any]) -> None:
        """Write packets, at their pictures' times.

        The encoder counts pictures at an even rate, which a file then states; its time stamps are
        numbers of pictures. Those below 0, of pictures that wait for others, are before the first.
        """
        for packet in packets:
            stamps = (packet.pts, packet.dts)
            number, waits = (round(stamp * packet.time_base / self._step) for stamp in stamps)
            before = round(min(waits, 0) * self._step * _TICKS)
            packet.pts, packet.dts = self._ticks[number], self._ticks[max(waits, 0)] + before
            packet.duration, packet.time_base = self._gap, Fraction(1, _TICKS)
            container.mux(packet)
            for old in [n for n in self._ticks if n < waits]:
                del self._ticks[old]

    def close(self) -> None:
        """Make the file playable.

        Raises:
            OSError: the file can't be written.
        """
        if self._container is None:
            return
        container, self._container = self._container, None
        with self._file:
            try:
                self._mux(container, self._stream.encode(None))
                if self.sound is not None:
                    self.sound.copy_until((self._last + self._gap) / _TICKS)
            finally:
                container.close()
                if self.sound is not None:
                    self.sound.end()

    def abandon(self) -> None:
        """Leave what was there before as it was, instead of ``close``."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with suppress(_AbandonedError), self._file:
            container.close()
            raise _AbandonedError

    def _open(self, size: tuple[int, int], pixel_aspect: Fraction) -> None:
        self._size = size
        height, width = (side + side % 2 for side in size)
        if (height, width) != size:
            logger.info(
                "%s: padded from %dx%d to %dx%d, since H.264 has even sides",
                self.path,
                *(size[1], size[0], width, height),
            )
        with ExitStack() as file:  # what goes wrong here leaves no file
            container = self._av.open(file.enter_context(whole_file(self.path)), "w")
            stream = self._add_stream(container, (height, width))
            if pixel_aspect != 1:
                stream.sample_aspect_ratio = pixel_aspect
            self._file = file.pop_all()
        self._container, self._stream = container, stream
        if self.sound is not None:
            self.sound.begin(self._container)

    def _add_stream(self, container: Any, size: tuple[int, int]) -> Any:
        try:
            stream = container.add_stream("libx264", self.rate or _RATE, options=_QUALITY)
        except self._av.codec.codec.UnknownCodecError:
            raise ValueError(
                "This build of PyAV has no H.264 encoder (libx264). The one of pip install av has."
            ) from None
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.color_range, stream.colorspace = _LIMITED_RANGE, _BT709
        stream.color_primaries = stream.color_trc = _BT709
        return stream


class PictureFolder:
    """A PNG per frame, ``<folder>/<name>.png``.

    Args:
        path: the folder, which is made; ``~`` is expanded.

    Raises:
        ValueError: the path is a file.
    """

    def __init__(self, path: str | PathLike):
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"{self.path} is a file, but a folder is to be written. A video file has one of "
                f"the suffixes {', '.join(VIDEO_SUFFIXES)}."
            )
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, frame: SourceFrame, picture: np.ndarray) -> None:
        with whole_file(self.path / f"{frame.name}.png", durable=False) as partial:
            Image.fromarray(picture).save(partial)

    def close(self) -> None:
        pass


class LabelMapFolder(PictureFolder):
    """A palette PNG per frame, whose pixel values are class indices.

    Args:
        path: as for ``PictureFolder``.
        colors: red-green-blue of every class; at most 256.
    """

    def __init__(self, path: str | PathLike, colors: Sequence[Sequence[int]]):
        if len(colors) > 256:
            raise ValueError(
                f"{path}: a PNG holds 256 classes at most, and there are {len(colors)}."
            )
        super().__init__(path)
        self.colors = colors

    def write(self, frame: SourceFrame, labels: np.ndarray) -> None:
        """The next label map, (H, W) uint8."""
        with whole_file(self.path / f"{frame.name}.png", durable=False) as partial:
            save_label_map(partial, labels, self.colors)


class Window:
    """Shows the pictures; Escape or q closes it.

    Args:
        advice: what to do where there is none, for the error.

    Raises:
        OSError: there is no display, or this OpenCV has no windows.
    """

    def __init__(self, advice: str):
        has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if sys.platform.startswith("linux") and not has_display:  # there, Qt would abort
            raise OSError(f"There is no display to show the result on. {advice}")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error:
            raise OSError(
                f"This OpenCV can't open windows (opencv-python-headless can't). {advice}"
            ) from None

    def write(self, frame: SourceFrame, picture: np.ndarray) -> None:
        self.show(picture, milliseconds=1)

    def show(self, picture: np.ndarray, milliseconds: int = 0) -> None:
        """A picture, red-green-blue, for so long, or until a key is pressed; 0 for ever.

        Raises:
            WindowClosedError: the person has closed it.
        """
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(milliseconds) & 0xFF in (_ESCAPE, ord("q")):
            raise WindowClosedError

    def close(self) -> None:
        cv2.destroyAllWindows()
