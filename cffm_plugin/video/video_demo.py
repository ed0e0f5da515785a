"""A video in, the same video under the colours of its classes out: what cffm demo runs."""

import logging
import signal
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor
from tqdm import tqdm

from ..data import PrototypeFolder
from ..inference import StreamingSegmentor
from ..job_spec import JobSpec
from ..libraries import OptionalLibrary
from ..modeling import CFFMSegmentor
from ..pictures.painting import Legend, add_legend, classes_present, legend_column, overlay
from ..stopping import stops_noted
from .decoding import IncompleteVideoError
from .reading import FrameSource
from .writing import LabelMapFolder, PictureSink, WindowClosedError

cv2 = OptionalLibrary("cv2", "Painting classes over frames")

logger = logging.getLogger(__name__)


class DemoRun(NamedTuple):
    """How a run ended.

    Attributes:
        num_frames: frames that were segmented and written.
        stopped_by: the signal that ended it, SIGINT for Ctrl-C; None where none did.
    """

    num_frames: int
    stopped_by: signal.Signals | None


class VideoDemo:
    """Segments a video as a stream and paints what it sees.

    Args:
        segmentor: the stream.
        classes: name and colour, red-green-blue, of every class.
        opacity: of the colours, 0..1.
        confidence_threshold: pixels whose class has a probability below it get no colour. At 0 no
            probabilities are computed.
        side_by_side: the frame to the left of its painted copy.
        prototypes: for CFFM++: those of the video, (P, C).
        legend: of the classes that a frame shows: "side", a column beside the picture, "over", a
            strip over its foot, or "off".
    """

    def __init__(
        self,
        segmentor: StreamingSegmentor,
        classes: Legend,
        *,
        opacity: float = 0.5,
        confidence_threshold: float = 0.0,
        side_by_side: bool = False,
        prototypes: Tensor | None = None,
        legend: str = "side",
    ):
        self.segmentor = segmentor
        self.classes = classes
        self.colors = [color for _, color in classes]
        self.opacity = opacity
        self.confidence_threshold = confidence_threshold
        self.side_by_side = side_by_side
        self.prototypes = prototypes
        self.legend = legend
        self._names = tuple(name for name, _ in classes)

    def run(
        self,
        source: FrameSource,
        pictures: PictureSink | None = None,
        label_maps: LabelMapFolder | None = None,
    ) -> DemoRun:
        """Segment a video from its first frame to its last, or until it is stopped: by Ctrl-C,
        SIGTERM or SIGUSR1, or a closed window.

        However it ends, also with an error, what was written is complete and playable. A second
        signal does not wait for the frame under way.

        Args:
            source: the video.
            pictures: where painted frames go.
            label_maps: where label maps go. ``confidence_threshold`` leaves them as they are.
        """
        self.segmentor.reset()
        num_frames = 0
        with stops_noted() as stopped_by:
            try:
                with tqdm(source, total=source.num_frames, unit="frame") as frames:
                    for frame in frames:
                        labels, shown = self.segment(frame.image)
                        if label_maps is not None:
                            label_maps.write(frame, labels)
                        if pictures is not None:
                            pictures.write(frame, self.paint(frame.image, labels, shown))
                        num_frames += 1
                        if stopped_by():
                            break
            except WindowClosedError:
                pass
            except IncompleteVideoError:
                if not stopped_by():  # the signal may have been waiting for a stream
                    raise
            finally:
                if pictures is not None:
                    pictures.close()
            return DemoRun(num_frames, stopped_by())

    def segment(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The next frame, (H, W, 3) uint8, blue-green-red.

        Returns:
            its classes, (H, W) uint8; and where their probability reaches the threshold, (H, W)
            bool, None for everywhere.
        """
        step = partial(self.segmentor.step, image, channel_order="BGR", prototypes=self.prototypes)
        if not self.confidence_threshold:
            return step().cpu().numpy(), None
        confidence, labels = step(output="probabilities").max(dim=0)
        kind = np.uint8 if len(self.classes) <= 256 else np.int64
        shown = confidence >= self.confidence_threshold
        return labels.cpu().numpy().astype(kind), shown.cpu().numpy()

    def paint(
        self, image: np.ndarray, labels: np.ndarray, shown: np.ndarray | None = None
    ) -> np.ndarray:
        """A frame under its colours, with a legend of the classes that it shows.

        Args:
            image: (H, W, 3) uint8, blue-green-red.
            labels: (H, W).
            shown: (H, W) bool: which pixels get a colour; by default all.

        Returns:
            (H, W, 3) uint8, red-green-blue; wider by W side by side, and by a legend at the side.
        """
        frame = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        painted = overlay(frame, labels, self.colors, opacity=self.opacity, shown=shown)
        present = classes_present(labels, len(self.classes), shown)
        legend = [self.classes[k] for k in present]
        parts = [frame] * self.side_by_side
        parts.append(add_legend(painted, legend) if self.legend == "over" else painted)
        if self.legend == "side":
            parts.append(legend_column(legend, self._names, len(frame)))
        return np.hstack(parts)


def load_segmentor(cfg: CfgNode) -> StreamingSegmentor:
    """The stream of a config, with the weights of MODEL.WEIGHTS.

    Raises:
        FileNotFoundError: there are no such weights.
        ValueError: the config is not of a CFFMSegmentor, it names no weights although the model has
            none of its own, or they do not fit.
    """
    spec = JobSpec.from_config(cfg)
    name = spec.architecture
    known = name in META_ARCH_REGISTRY
    if not known or not issubclass(META_ARCH_REGISTRY.get(name), CFFMSegmentor):
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {name}, but videos are segmented by a CFFMSegmentor. "
            "docs/wrap-your-segmenter.md makes one of an image segmentor."
        )
    if not spec.weights and spec.needs_weights:
        raise ValueError("MODEL.WEIGHTS is empty. Name the weights: --opts MODEL.WEIGHTS FILE.")
    return StreamingSegmentor(cfg)


def load_prototypes(needed: bool, file: str | None) -> Tensor | None:
    """The prototypes of a video, (P, C), where the config's model needs them: CFFM++.

    Args:
        needed: whether it does.
        file: as cffm prototypes writes it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the model needs them and ``file`` is None, or the other way round; or the file
            holds something else.
    """
    if not needed and file is not None:
        raise ValueError(
            "Prototypes are for CFFM++, and MODEL.TEMPORAL.PROTOTYPES.ENABLED is False. Leave "
            "--prototypes out, or give CFFM++'s config and weights."
        )
    if not needed:
        return None
    if file is None:
        raise ValueError(
            "The config is of CFFM++, which needs the prototypes of the video: --prototypes FILE, "
            "of cffm prototypes. Without them: MODEL.TEMPORAL.PROTOTYPES.ENABLED False."
        )
    path = Path(file).expanduser()
    if path.suffix != ".pt" or not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file of prototypes, <video>.pt. cffm prototypes makes them."
        )
    return PrototypeFolder(path.parent).load(path.stem)
