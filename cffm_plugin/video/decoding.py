"""Frames out of an open video, past damaged packets, and whether they are all that it promises."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..libraries import OptionalLibrary

VIDEO_FILES = "Reading and writing video files"  # what needs PyAV

av = OptionalLibrary("av", VIDEO_FILES)

# A video may end this much before its promise: headers round, and writers drop their last frame.
_TOLERANCE = 0.25  # seconds
_TOLERANCE_FRAMES = 3


class IncompleteVideoError(ValueError):
    """A video has ended before its time, or is damaged. What it has of frames came before."""


def decode(container: Any, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of an open container's first video stream.

    Packets that can't be decoded are left out. Those before the first frame are normal, where a
    recording began between two key frames.

    Args:
        container: of PyAV.
        name: for errors.

    Yields:
        seconds since the first frame; the frame, upright, (H, W, 3) uint8, blue-green-red.

    Raises:
        IncompleteVideoError: after the last frame: there are clearly fewer than the header
            promises, a packet is damaged, or reading ended in an error.
    """
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # threads by frame delay a stream, and lose frames at an error
    kind, promised_end = container.format.name, _promised_end(container, stream)
    rate = stream.average_rate or 25
    count, damaged, start, reached, error = 0, 0, 0.0, 0.0, ""
    try:
        for packet in container.demux():
            if packet.pts is not None and (packet.stream is stream or "matroska" in kind):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                reached = max(reached, float(end))
            if packet.stream is not stream:
                continue
            frames, is_damaged = _decode_packet(packet)
            damaged += is_damaged and count > 0
            for frame in frames:
                seconds = float(count / rate) if frame.time is None else frame.time
                start = seconds if count == 0 else start
                yield seconds - start, _upright(frame)
                count += 1
    except av.error.ExitError:
        error = "nothing more came in time"
    except av.FFmpegError as broken:
        error = broken.strerror
    tolerance = max(_TOLERANCE, _TOLERANCE_FRAMES / rate)
    causes = [error] if error else []
    if promised_end is not None and reached < promised_end - tolerance:
        causes.append(f"{max(0, reached):.1f} of {promised_end:.1f} seconds")
    if damaged:
        causes.append(f"damaged packets: {damaged}")
    if causes:
        promised = expected_frames(container, stream)
        of = f" of about {promised} that its header promises" if promised else ""
        raise IncompleteVideoError(
            f"{name}: incomplete: {count} frames came{of} ({', '.join(causes)})."
        )


def expected_frames(container: Any, stream: Any) -> int | None:
    """About how many frames a header promises; None where it does not say."""
    if stream.frames:
        return stream.frames
    if not container.duration or not stream.average_rate:
        return None
    return round(container.duration * stream.average_rate / 1_000_000)


def first_time(container: Any) -> float | None:
    """The time stamp, in seconds, of the first frame that can be decoded; None without frames."""
    for packet in container.demux(container.streams.video[0]):
        frames, _ = _decode_packet(packet)
        if frames:
            return float(frames[0].time or 0)
    return None


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


def _upright(frame: Any) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8, blue-green-red."""
    image = frame.to_ndarray(format="bgr24")
    quarter_turns = round(frame.rotation / 90)  # counterclockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
