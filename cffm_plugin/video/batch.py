"""Many videos at once: frames are read ahead of the model, and pictures are written behind it.

Reading, painting and writing go on in threads: PyAV, OpenCV, Pillow and torch all work outside of
Python's lock, and frames are not copied from process to process.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..inference import StreamingSegmentor
from .reading import FrameSource, SourceFrame

logger = logging.getLogger(__name__)


class BatchSink(Protocol):
    """Where the label maps of one video go.

    ``write`` and ``close`` are called by a thread of its own, in order; ``abandon`` instead of
    ``close`` where the video could not be finished.
    """

    def write(self, frame: SourceFrame, labels: np.ndarray) -> None:
        """The classes of the next frame, (H, W)."""

    def close(self) -> None:
        """All frames were written: what is there becomes whole."""

    def abandon(self) -> None:
        """Not all frames came: nothing may stand under the final name."""


class BatchVideo(NamedTuple):
    """A video to segment.

    Attributes:
        name: unique; what errors call it.
        open: gives its frames, and where its label maps go.
    """

    name: str
    open: Callable[[], tuple[FrameSource, BatchSink]]


@dataclass
class BatchResult:
    """What became of many videos.

    Attributes:
        num_frames: how many were segmented.
        seconds: from the first to the last.
        done: names of the videos that are whole.
        failed: name -> why it is not.
    """

    num_frames: int = 0
    seconds: float = 0.0
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def segment_videos(
    segmentor: StreamingSegmentor,
    videos: Sequence[BatchVideo],
    *,
    streams: int = 1,
    ahead: int = 8,
    progress: Callable[[int], object] = lambda frames: None,
) -> BatchResult:
    """Segment videos, several at a time; one that fails does not stop the others.

    Every video is a stream of its own, so its label maps are those that it has alone: to the bit
    where ``streams`` is 1, and up to the rounding of larger batches where frames of one size are
    encoded together.

    Args:
        segmentor: with no streams under way. Its ``max_streams`` must allow ``streams``.
        videos: in the order in which they are begun.
        streams: how many are under way at a time.
        ahead: frames that are read of each, and label maps that wait to be written, at most.
        progress: called with the number of frames that were segmented since the last call.

    Raises:
        ValueError: ``streams`` or ``ahead`` is less than 1.
    """
    if streams < 1 or ahead < 1:
        raise ValueError(f"streams and ahead are at least 1, got {streams} and {ahead}")
    result = BatchResult()
    waiting = deque(videos)
    under_way: dict[str, _UnderWay] = {}
    start = time.monotonic()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < streams:
                video = waiting.popleft()
                try:
                    under_way[video.name] = _UnderWay(*video.open(), ahead=ahead)
                except (ValueError, OSError) as error:
                    result.failed[video.name] = str(error)
            frames = {}
            for name, job in list(under_way.items()):
                frame = job.next_frame()
                if frame is None:
                    segmentor.reset(name)
                    _finish(name, under_way.pop(name), result)
                else:
                    frames[name] = frame
            for name, labels in _step(segmentor, frames, under_way).items():
                under_way[name].put(frames[name], labels)
            progress(len(frames))
            result.num_frames += len(frames)
    finally:
        for name, job in under_way.items():  # after an error or a signal
            segmentor.reset(name)
            job.stop()
    result.seconds = time.monotonic() - start
    return result


def _step(
    segmentor: StreamingSegmentor, frames: dict[str, SourceFrame], jobs: dict[str, "_UnderWay"]
) -> dict[str, np.ndarray]:
    """The label maps of a frame of each video. A video whose frame fails gets its error."""
    if not frames:
        return {}
    images: dict[Hashable, Any] = {name: frame.image for name, frame in frames.items()}
    try:
        outputs: dict[Any, Any] = dict(segmentor.step_all(images, channel_order="BGR"))
    except (ValueError, FloatingPointError):
        outputs = {}
        for name, image in images.items():  # none has gone on: find the one that can't
            try:
                outputs[name] = segmentor.step(image, channel_order="BGR", stream=name)
            except (ValueError, FloatingPointError) as error:
                jobs[str(name)].fail(error)
    return {str(name): labels.cpu().numpy() for name, labels in outputs.items()}


def _finish(name: str, job: "_UnderWay", result: BatchResult) -> None:
    error = job.finish()
    if error is None:
        result.done.append(name)
    else:
        result.failed[name] = str(error)
        logger.warning("%s: %s", name, error)


class _UnderWay:
    """A video whose frames are read by one thread and written by another."""

    def __init__(self, source: FrameSource, sink: BatchSink, *, ahead: int):
        self._sink, self._ahead = sink, ahead
        self._frames = iter(source)
        self._reader, self._writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._coming = deque(self._read_one() for _ in range(ahead))
        self._writing = deque[Future[None]]()
        self._error: BaseException | None = None

    def next_frame(self) -> SourceFrame | None:
        """None at its end, and after an error."""
        if self._error is None:
            try:
                frame = self._coming.popleft().result()
                self._coming.append(self._read_one())
                return frame
            except (ValueError, OSError) as error:
                self.fail(error)
        return None

    def put(self, frame: SourceFrame, labels: np.ndarray) -> None:
        if len(self._writing) == self._ahead:
            self._await_writing()
        self._writing.append(self._writer.submit(self._sink.write, frame, labels))

    def fail(self, error: BaseException) -> None:
        """The first error counts; the video ends at its next frame."""
        self._error = self._error or error

    def finish(self) -> BaseException | None:
        """Wait until all is written; the error that ended it, or None."""
        while self._writing:
            self._await_writing()
        end = self._sink.close if self._error is None else self._sink.abandon
        self._writing.append(self._writer.submit(end))
        self._await_writing()
        self._reader.shutdown(cancel_futures=True)
        self._writer.shutdown()
        return self._error

    def stop(self) -> None:
        """Leave it unfinished."""
        self.fail(InterruptedError("stopped"))
        self.finish()

    def _read_one(self) -> Future[SourceFrame | None]:
        return self._reader.submit(next, self._frames, None)

    def _await_writing(self) -> None:
        try:
            self._writing.popleft().result()
        except (ValueError, OSError) as error:
            self.fail(error)
