"""VideoSegmentor: clips in, losses or logits out; and streams of files, cameras and frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from .core import ClipSegmentor, StreamingSegmentor
from .core.frames import Frame


@dataclass(frozen=True)
class SegmentedFrame:
    """A frame of a stream and its prediction.

    Attributes:
        image: the frame: (H, W, 3) uint8, RGB, of a file or camera; of other sources as it came.
        labels: the class of every pixel, (H, W) uint8 (int64 for more than 256 classes).
        name: of files and cameras: its index, 8 digits, or a file's name without its suffix.
        seconds: of files and cameras: its time; None of other sources.
    """

    image: Any
    labels: Tensor
    name: str
    seconds: float | None = None


class VideoSegmentor(ClipSegmentor):
    """An image segmentor that looks at a few earlier frames.

        model = cffm_plugin.create_model("cffm_mit_b1", num_classes=19)
        model(clips, labels=labels).loss.backward()  # clips (B, 4, 3, H, W), RGB, 0..255
        for frame in model.stream("street.mp4"):
            frame.labels

    It is made by ``create_model``, ``wrap`` or ``from_pretrained``. Any loop and any trainer of
    modules trains it. ``CFFMSegmentor`` is the same for detectron2.

    Attributes:
        stream_options: arguments of ``StreamingSegmentor`` for ``stream`` and ``step``, such as
            ``smoothing`` or ``autocast``.
    """

    _steps: StreamingSegmentor | None = None
    recipe: dict[str, Any] | None = None  # how it was made, see saving.py

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        self.stream_options: dict[str, Any] = {}

    def stream(
        self,
        source: str | PathLike | int | Iterable[Frame],
        *,
        channel_order: str = "RGB",
        **options: Any,
    ) -> Iterator[SegmentedFrame]:
        """Segment a video as it comes, each frame with its past; puts the model in evaluation mode.

        Args:
            source: a video file, a folder of images, an address (rtsp, http ...), the number of a
                camera; or frames: arrays (H, W, 3) uint8 or tensors (3, H, W), 0..255.
            channel_order: of such frames: "RGB" or "BGR".
            options: of ``StreamingSegmentor``, beside ``stream_options``.

        Raises:
            ValueError, OSError: the source can't be read; see ``StreamingSegmentor.step`` besides.
            ModuleNotFoundError: PyAV, OpenCV or Pillow, which the source needs, is not installed.
        """
        segmentor = StreamingSegmentor(self, **(self.stream_options | options))
        if not isinstance(source, (str, PathLike, int)):
            for index, frame in enumerate(source):
                labels = segmentor.step(frame, channel_order=channel_order)
                yield SegmentedFrame(frame, labels, f"{index:08d}")
            return
        if channel_order != "RGB":
            raise ValueError(
                f"channel_order is of frames that are given one by one; {source} is read here, and "
                "its frames are RGB"
            )
        from .video.opening import open_frames  # readers of video

        for given in open_frames(source):
            image = given.image[:, :, ::-1].copy()  # readers give BGR
            yield SegmentedFrame(image, segmentor.step(image), given.name, given.seconds)

    def step(self, frame: Frame, **options: Any) -> Tensor:
        """Segment the next frame of a video, in evaluation mode; ``reset`` before another one.

        Args:
            frame: an array (H, W, 3) uint8, or a tensor (3, H, W), 0..255.
            options: as of ``StreamingSegmentor.step``, such as ``channel_order`` and ``output``.
        """
        if self._steps is None:
            self._steps = StreamingSegmentor(self, **self.stream_options)
        if self.training:
            self.eval()
        return self._steps.step(frame, **options)

    def reset(self) -> None:
        """Forget the frames that ``step`` was given, and take ``stream_options`` anew. Training
        mode and loading weights do so too."""
        self._steps = None

    def train(self, mode: bool = True) -> "VideoSegmentor":
        """As ``ClipSegmentor.train``."""
        if mode:
            self.reset()  # what it keeps is of the weights as they were
        super().train(mode)
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        """What ``load_state_dict`` calls, of this module and of one that it is a part of."""
        self.reset()
        super()._load_from_state_dict(*args)

    def save_pretrained(self, folder: str | PathLike) -> Path:
        """Write weights and how the model was made, for ``cffm_plugin.from_pretrained``.

        Code is not written: a temporal module or a loss of your own is passed to
        ``from_pretrained`` again, which a warning says.

        Raises:
            ValueError: the model is none of ``create_model`` or ``wrap``, ``cffm publish`` writes
                those of configs; or it was made with an argument that can't be written.
        """
        from .saving import save_pretrained

        return save_pretrained(self, Path(folder))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_steps": None}  # copies begin their own
