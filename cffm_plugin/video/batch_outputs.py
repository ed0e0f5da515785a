"""What many videos become: label maps and painted videos that are whole or not there."""

import os
import shutil
from pathlib import Path

import numpy as np

from ..files import remove_leftovers
from .batch import BatchSink
from .jobs import VideoJob
from .reading import FrameSource, SourceFrame
from .video_demo import VideoDemo
from .writing import LabelMapFolder, VideoWriter

_PARTIAL = ".partial"


class VideoOutputs(BatchSink):
    """A video's label maps in a folder, its painted pictures in a video file, or both.

    Folder and file have hidden names until they are whole.

    Args:
        job: where both go.
        source: the video's frames.
        demo: paints, in its colours.
    """

    def __init__(self, job: VideoJob, source: FrameSource, demo: VideoDemo):
        self._demo = demo
        self._masks: LabelMapFolder | None = None
        self._pictures: VideoWriter | None = None
        if job.masks:
            self._folder = Path(job.masks).expanduser()
            hidden = self._hidden(self._folder)
            shutil.rmtree(hidden, ignore_errors=True)
            self._masks = LabelMapFolder(hidden, demo.colors)
        if job.output:
            self._pictures = VideoWriter(
                Path(job.output).expanduser(), source.rate, keep_times=True
            )

    @staticmethod
    def are_there(job: VideoJob) -> bool:
        """Whether an earlier run has finished the video."""
        return all(Path(p).expanduser().exists() for p in (job.masks, job.output) if p)

    @staticmethod
    def remove_leftovers(job: VideoJob) -> None:
        """Of a run that was killed in this video."""
        if job.masks:
            folder = Path(job.masks).expanduser()
            shutil.rmtree(VideoOutputs._hidden(folder), ignore_errors=True)
        if job.output and Path(job.output).expanduser().parent.is_dir():
            remove_leftovers(Path(job.output).expanduser().parent, below=False)

    def write(self, frame: SourceFrame, labels: np.ndarray) -> None:
        if self._masks is not None:
            self._masks.write(frame, labels)
        if self._pictures is not None:
            self._pictures.write(frame, self._demo.paint(frame.image, labels))

    def close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        if self._masks is not None:
            os.replace(self._masks.path, self._folder)

    def abandon(self) -> None:
        if self._masks is not None:
            shutil.rmtree(self._masks.path, ignore_errors=True)
        if self._pictures is not None:
            self._pictures.abandon()

    @staticmethod
    def _hidden(folder: Path) -> Path:
        return folder.with_name(f".{folder.name}{_PARTIAL}")
