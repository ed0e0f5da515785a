"""Whether an exported stream agrees with the model that it was made from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..inference import StreamingSegmentor

if TYPE_CHECKING:
    from .onnx_runner import Stream  # needs OpenCV


@dataclass(frozen=True)
class Agreement:
    """Of an exported stream with its model, at full resolution.

    Attributes:
        frames: that were compared.
        logits: the largest difference of any logit.
        labels: share of the pixels with the same class.
    """

    frames: int
    logits: float
    labels: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames: logits differ by at most {self.logits:.2g}, "
            f"labels are equal on {100 * self.labels:.4f} % of pixels"
        )


def compare(
    segmentor: StreamingSegmentor,
    exported: "Stream",
    frames: Iterable[Tensor],
    prototypes: Tensor | None = None,
) -> Agreement:
    """Run a model and what was exported from it on the frames (3, H, W) of one video."""
    segmentor.reset()
    exported.reset()
    num_frames, largest, equal = 0, 0.0, 0.0
    for frame in frames:
        logits = segmentor.step(
            frame,
            channel_order=segmentor.model.image_format,
            output="logits",
            prototypes=prototypes,
        )
        expected = logits.cpu().numpy()
        given = exported.full_logits(
            frame.float().cpu().numpy(), None if prototypes is None else prototypes.cpu().numpy()
        )
        num_frames += 1
        largest = max(largest, float(np.abs(given - expected).max()))
        equal += float((given.argmax(axis=0) == expected.argmax(axis=0)).mean())
    return Agreement(num_frames, largest, equal / num_frames)


def random_frames(size: tuple[int, int], num_frames: int) -> Iterator[Tensor]:
    """Frames (3, H, W) of noise, whole numbers 0..255, float32."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_frames):
        yield torch.randint(0, 256, (3, *size), generator=generator).float()
