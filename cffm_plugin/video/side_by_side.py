"""One video through a model's image segmentor and through the whole of it, side by side."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..inference import StreamingSegmentor
from ..libraries import OptionalLibrary
from ..pictures.painting import Legend, add_title, classes_present, legend_column, overlay
from .decoding import IncompleteVideoError
from .reading import SourceFrame
from .writing import PictureSink

cv2 = OptionalLibrary("cv2", "Painting classes over frames")

IMAGE, VIDEO = "image segmentor", "video segmentor"


@dataclass(frozen=True)
class Comparison:
    """What came of a video.

    Attributes:
        num_frames: that were segmented.
        changed: "image segmentor" and "video segmentor" -> the share, 0..1, of pixels whose class
            is another than in the frame before, averaged over all pairs of neighbouring frames.
            None with fewer than two frames. What moves in the scene is in both.
        incomplete: what is missing of the video; "" where nothing is.
    """

    num_frames: int
    changed: dict[str, float] | None
    incomplete: str = ""


class SideBySide:
    """Segments every frame twice: by itself, as the image segmentor inside the model does, and as
    the next of a stream.

    Args:
        segmentor: the stream; its model has a temporal module, and no branch of prototypes.
        classes: name and colour, red-green-blue, of every class.

    Raises:
        ValueError: the model is another.
    """

    def __init__(self, segmentor: StreamingSegmentor, classes: Legend):
        if segmentor.model.clip_length == 1:
            raise ValueError(
                "The model is an image segmentor (MODEL.TEMPORAL.ENABLED False), so there is no "
                "video segmentor to compare it with."
            )
        if segmentor.model.prototype_branch is not None:
            raise ValueError(
                "CFFM++ needs prototypes of every video: here, without them, set "
                "MODEL.TEMPORAL.PROTOTYPES.ENABLED False."
            )
        self.segmentor = segmentor
        self.classes = classes
        self._names = tuple(name for name, _ in classes)
        self._colors = [color for _, color in classes]

    def run(
        self,
        frames: Iterable[SourceFrame],
        pictures: PictureSink,
        after_frame: Callable[[int], None] = lambda count: None,
    ) -> Comparison:
        """Segment a video and write a picture of every frame.

        However it ends, also with an error, the pictures are closed.

        Args:
            frames: of one size.
            pictures: where they go: titles above, a legend of the classes shown at the right.
            after_frame: called after each with how many there were; what it raises ends the run.

        Raises:
            FloatingPointError, ValueError, OSError: as ``StreamingSegmentor`` and ``PictureSink``.
        """
        self.segmentor.reset()
        before: dict[str, np.ndarray] = {}
        totals = {IMAGE: 0.0, VIDEO: 0.0}
        count, incomplete = 0, ""
        try:
            for frame in frames:
                labels = self.segment(frame.image)
                pictures.write(frame, self.paint(frame.image, labels))
                for name, previous in before.items():
                    totals[name] += float((labels[name] != previous).mean())
                before = labels
                count += 1
                after_frame(count)
        except IncompleteVideoError as error:
            incomplete = str(error)
        finally:
            pictures.close()
            self.segmentor.reset()
        pairs = count - 1
        changed = {name: total / pairs for name, total in totals.items()} if pairs > 0 else None
        return Comparison(count, changed, incomplete)

    def segment(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Label maps (H, W) of the next frame, (H, W, 3) uint8, blue-green-red, by both names."""
        labels = self.segmentor.step_all(
            {IMAGE: image, VIDEO: image}, channel_order="BGR", image_only=(IMAGE,)
        )
        return {name: labels[name].cpu().numpy() for name in (IMAGE, VIDEO)}

    def paint(self, image: np.ndarray, labels: dict[str, np.ndarray]) -> np.ndarray:
        """A picture, (height, width, 3) uint8, red-green-blue; one size for frames of one size."""
        frame = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        halves = [
            add_title(overlay(frame, map_, self._colors), name) for name, map_ in labels.items()
        ]
        present = {k for m in labels.values() for k in classes_present(m, len(self.classes))}
        legend = [self.classes[k] for k in sorted(present)]
        return np.hstack([*halves, legend_column(legend, self._names, halves[0].shape[0])])
