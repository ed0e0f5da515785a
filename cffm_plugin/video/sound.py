"""The sound of a video file, copied as it is into the segmented one."""

import io
from collections.abc import Iterator
from typing import Any

from ..libraries import OptionalLibrary
from .reading import VideoFile
from .shown import VIDEO_FILES, read_only, shown_stream

av = OptionalLibrary("av", VIDEO_FILES)

FORMATS = {".mp4": "mp4", ".mkv": "matroska"}  # of output suffixes


class SoundCopy:
    """Copies packets of the sound that a player plays with a video file, for ``VideoWriter``.

    Args:
        video: the file.
        suffix: of the output.

    Attributes:
        is_silent: there is no sound to copy.

    Raises:
        ValueError: a file of that suffix can't hold this sound.
    """

    def __init__(self, video: VideoFile, suffix: str):
        self._path, self._start = video.path, video.start or 0.0
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None
        with av.open(self._path) as container:
            sound = _sound(container)
            self.is_silent = sound is None
            if sound is None:
                return
            try:  # what a container takes shows when its header is written
                with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
                    trial.add_stream_from_template(sound)
                    trial.start_encoding()
            except (ValueError, av.FFmpegError):
                advice = " .mkv takes more." if suffix != ".mkv" else ""
                raise ValueError(
                    f"{self._path}: its sound ({sound.codec_context.name}) can't be copied into a "
                    f"{suffix} file.{advice} Without --keep-audio the video is written silent."
                ) from None

    def begin(self, output: Any) -> None:
        """Add the stream to an open container, before its first packet."""
        if not self.is_silent:
            self._input = av.open(self._path)
            source = _sound(self._input)
            read_only(self._input, source)
            self._output = output
            self._stream = output.add_stream_from_template(source)
            self._packets = self._timed(source)
            self._waiting = next(self._packets, None)

    def copy_until(self, seconds: float) -> None:
        """Copy the packets that begin before a time since the video's first frame."""
        while self._waiting is not None and self._waiting[0] < seconds:
            self._output.mux(self._waiting[1])
            self._waiting = next(self._packets, None)

    def end(self) -> None:
        """No more is copied."""
        if not self.is_silent:
            self._waiting = None
            self._input.close()

    def _timed(self, source: Any) -> Iterator[tuple[float, Any]]:
        """(seconds, packet), from the one that ends at the first frame: decoders need a run-in."""
        offset = round(self._start / source.time_base)
        try:
            for packet in self._input.demux(source):
                if packet.dts is None:
                    continue
                pts = packet.dts if packet.pts is None else packet.pts
                packet.pts, packet.dts = pts - offset, packet.dts - offset
                if packet.pts + (packet.duration or 0) >= 0:
                    packet.stream = self._stream
                    yield float(packet.pts * packet.time_base), packet
        except av.FFmpegError:  # said of the pictures, which are read to the same place
            return


def _sound(container: Any) -> Any:
    """The stream that is played with the pictures; None for a silent video."""
    return container.streams.best("audio", related=shown_stream(container))
