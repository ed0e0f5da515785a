"""Frames out of an open video, past damaged packets, and whether they are all that it promises."""

from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..libraries import OptionalLibrary, import_library
from .shown import VIDEO_FILES, FrameConverter, read_only, shown_stream

# PyAV 16 takes every matrix for BT.601, and 17 maps no HDR and errs at 16 bits.
OLDEST_PYAV = 18

av = OptionalLibrary("av", VIDEO_FILES)

# A video may end this much before its promise: headers round, and writers drop their last frame.
_TOLERANCE = 0.25  # seconds
_TOLERANCE_FRAMES = 3
_LOOK_AHEAD = 100  # packets whose times tell whether the frame rate varies
_VARIES_FROM = 0.01  # relative difference of the header's rate and the times
_RESTARTS_FROM = 1.0  # seconds that times go back where a recording begins anew


class IncompleteVideoError(ValueError):
    """A video has ended before its time, or is damaged. What it has of frames came before."""


class Facts(NamedTuple):
    """What a video's header and first packets say.

    Attributes:
        start: time stamp of the first frame that can be decoded, in seconds.
        rate: frames per second, about; None where nothing says it.
        varies: whether frames come at irregular times, as far as it shows.
        num_frames: about how many; None where it does not say.
    """

    start: float
    rate: Fraction | None
    varies: bool
    num_frames: int | None


def import_av() -> ModuleType:
    """
    Raises:
        ModuleNotFoundError: PyAV is not installed.
        ImportError: it is too old.
    """
    module = import_library("av", VIDEO_FILES)
    if int(module.__version__.split(".")[0]) < OLDEST_PYAV:
        raise ImportError(
            f"{VIDEO_FILES} needs PyAV {OLDEST_PYAV} or newer, and {module.__version__}, which "
            f"reads other colours, is installed: pip install 'av>={OLDEST_PYAV}'"
        )
    return module


def decode(
    container: Any, name: str, *, map_colors: bool = True
) -> Iterator[tuple[float, np.ndarray, Fraction]]:
    """The frames of the video stream that a player shows of an open container.

    Packets that can't be decoded are left out. Those before the first frame are normal, where a
    recording began between two key frames.

    Args:
        container: of PyAV, with a video stream.
        name: for errors.
        map_colors: see ``FrameConverter``.

    Yields:
        seconds since the first frame, which never go back; the frame, upright, (H, W, 3) uint8,
        blue-green-red; and how wide its pixels are for their height.

    Raises:
        IncompleteVideoError: after the last frame: there are clearly fewer than the header
            promises, a packet is damaged, or reading ended in an error.
        ValueError: its colours can't be converted.
    """
    stream = shown_stream(container)
    read_only(container, stream)
    stream.thread_type = "SLICE"  # threads by frame delay a stream, and lose frames at an error
    kind, promised_end = container.format.name, _promised_end(container, stream)
    rate = stream.average_rate or 25
    convert = FrameConverter(stream, name, map_colors=map_colors)
    clock = _Clock(float(1 / rate))
    count, damaged, reached, error = 0, 0, 0.0, ""
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            if packet.pts is not None and (packet.stream is stream or "matroska" in kind):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                reached = max(reached, float(end))
            frames, is_damaged = _decode_packet(packet) if packet.stream is stream else ([], False)
        except av.FFmpegError as broken:
            late = isinstance(broken, av.error.ExitError)
            error = "nothing more came in time" if late else broken.strerror
            break
        damaged += is_damaged and count > 0
        for frame in frames:
            yield clock.seconds(_time_of(frame, kind)), *convert(frame)
            count += 1
    causes = [error] if error else []
    tolerance = max(_TOLERANCE, _TOLERANCE_FRAMES / rate)
    if promised_end is not None and reached < promised_end - tolerance:
        causes.append(f"{max(0, reached):.1f} of {promised_end:.1f} seconds")
    if damaged:
        causes.append(f"damaged packets: {damaged}")
    if causes:
        promised = _expected_frames(container, stream, stream.average_rate)
        of = f" of about {promised} that its header promises" if promised else ""
        why = ", ".join(causes)
        raise IncompleteVideoError(f"{name}: incomplete: {count} frames came{of} ({why}).")


def look_ahead(container: Any, stream: Any) -> Facts | None:
    """What an open container says of a stream, and its first packets; None without frames."""
    read_only(container, stream)
    first, times = None, []
    for packet in container.demux(stream):
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            times.append(time)
        if first is None:
            frames, _ = _decode_packet(packet)
            first = frames[0] if frames else None
        if first is not None and len(times) >= _LOOK_AHEAD:
            break
    if first is None:
        return None
    rate, varies = _rate(stream, times)
    return Facts(float(first.time or 0), rate, varies, _expected_frames(container, stream, rate))


def _rate(stream: Any, times: list[int]) -> tuple[Fraction | None, bool]:
    """Frames per second, and whether it varies.

    Outside of MP4, a header's rate is a guess of the demuxer's: the times of the first packets are
    believed more.
    """
    rate, base = stream.average_rate or stream.guessed_rate, stream.base_rate
    # The base rate of interlaced and of slow videos is twice that of their frames.
    varies = bool(rate and base and base != 2 * rate and abs(base - rate) > _VARIES_FROM * base)
    times = sorted(times)
    span = (times[-1] - times[0]) * stream.time_base if times else 0
    if len(times) < 3 or not span:
        return rate, varies
    gaps = np.diff(times)
    # A regular time is rounded to the next tick; a frame that is lost doubles a gap.
    if np.ptp(gaps) * stream.time_base > max(2 * stream.time_base, _VARIES_FROM * span / len(gaps)):
        varies = True
    measured = Fraction(len(gaps)) / span
    if rate is None or abs(measured - rate) > _VARIES_FROM * rate + 2 * stream.time_base / span:
        varies = varies or rate is not None
        if "mp4" not in stream.container.format.name:  # whose mean is over the whole file
            rate = measured.limit_denominator(1001)
    return rate, varies


def _time_of(frame: Any, kind: str) -> float | None:
    """Seconds, up to a constant; None where nothing says it.

    AVI holds no presentation times, and those that FFmpeg guesses go back and forth with B-frames.
    Its decoding times come out in the order of the frames.
    """
    stamp = frame.dts if kind == "avi" or frame.pts is None else frame.pts
    return None if stamp is None else float(stamp * frame.time_base)


class _Clock:
    """Turns time stamps into seconds since the first frame.

    Args:
        step: between the first frames, in seconds, as long as no time is known.
    """

    def __init__(self, step: float):
        self._step = step
        self._last = -step
        self._offset: float | None = None

    def seconds(self, time: float | None) -> float:
        """Of the next frame, by its time stamp. Never less than of the last."""
        follows = self._last + self._step
        if time is None:
            self._last = follows  # as long after the last as that after the one before
            return follows
        if self._offset is None or time - self._offset < self._last - _RESTARTS_FROM:
            self._offset = time - follows  # the first; or a recording that begins anew
        seconds = max(self._last, time - self._offset)
        if 0 <= self._last < seconds:
            self._step = seconds - self._last
        self._last = seconds
        return seconds


def _expected_frames(container: Any, stream: Any, rate: Fraction | None) -> int | None:
    """About how many frames a header promises; None where it does not say."""
    if stream.frames:
        return stream.frames
    if not container.duration or not rate:
        return None
    return round(container.duration * rate / 1_000_000)


def _decode_packet(packet: Any) -> tuple[list[Any], bool]:
    """Its frames, and whether it is damaged."""
    try:
        return packet.decode(), packet.is_corrupt
    except av.error.InvalidDataError:
        return [], True


def _promised_end(container: Any, stream: Any) -> float | None:
    """The time stamp, in seconds, at which the header says that the video ends.

    Times and not numbers of frames: at a variable rate a duration says no number, and an MP4's
    number counts frames that its edit list leaves out. Matroska's duration is that of the longest
    stream. None for formats such as MPEG-TS, whose duration is a guess from the file's own size.
    """
    kind = container.format.name
    start = (stream.start_time or 0) * stream.time_base
    if "mp4" in kind and stream.duration:
        return float(start + stream.duration * stream.time_base)
    if "matroska" in kind and container.duration:
        return container.duration / 1_000_000
    if kind == "avi" and stream.frames and stream.average_rate:
        return float(start + stream.frames / stream.average_rate)
    return None
