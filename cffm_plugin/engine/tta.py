"""Test-time augmentation: class probabilities averaged over scales and flips."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from torch import Tensor, nn

from ..data import build_test_augmentations
from ..inference import name_of_frame, not_finite
from ..modeling import all_finite, kind_of


class ClipSegmentorWithTTA(nn.Module):
    """Wraps a segmentor of clips or images, in the way of detectron2's ``GeneralizedRCNNWithTTA``.

    It takes the frames as they are in their files and resizes them for every scale, so that large
    scales see more than the ordinary test does; ``ClipMapper`` leaves them so where
    TEST.AUG.ENABLED is set. Other inputs of the model, such as prototypes, are as without it.

    Args:
        model: a CFFMSegmentor, or any model with its input and output format.
        resizes: the augmentations of each scale. Nothing in them may be random.
        flip: also take the horizontally flipped frames of every scale.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        resizes: Sequence[Sequence[T.Augmentation]],
        flip: bool = True,
    ):
        super().__init__()
        self.model = model
        self._kind = kind_of(model)
        self.flips = (False, True) if flip else (False,)
        self.resizes = [T.AugmentationList(resize) for resize in resizes]

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        scales = cfg.TEST.AUG.SCALES
        if not scales or min(scales) <= 0:
            raise ValueError(f"TEST.AUG.SCALES holds positive numbers, got {tuple(scales)}")
        return {
            "model": model,
            "resizes": [build_test_augmentations(cfg, scale) for scale in scales],
            "flip": cfg.TEST.AUG.FLIP,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """
        Args:
            batched_inputs: as for the model, with frames (3, H, W) uint8 of their own size.

        Returns:
            a list of ``{"sem_seg": (K, height, width)}`` class probabilities, which sum to 1.

        Raises:
            FloatingPointError: a prediction is NaN or infinite.
        """
        return [{"sem_seg": self._average(item)} for item in batched_inputs]

    def _average(self, item: dict[str, Any]) -> Tensor:
        image = item["image"]
        clip = [image] if isinstance(image, Tensor) else image
        images = [frame.permute(1, 2, 0).numpy() for frame in clip]
        total: Tensor | float = 0.0
        for resize in self.resizes:
            transforms = resize(T.AugInput(images[-1]))
            frames = [_to_tensor(transforms.apply_image(image)) for image in images]
            for flip in self.flips:
                total = total + self._probabilities(item, frames, flip)
        assert isinstance(total, Tensor)
        if not all_finite(total[:1]):  # what is not finite makes all classes of a pixel so
            raise not_finite(name_of_frame(item), self.model, clip, item.get("prototypes"))
        return total / (len(self.resizes) * len(self.flips))

    def _probabilities(self, item: dict[str, Any], frames: list[Tensor], flip: bool) -> Tensor:
        clip = [frame.flip(-1) for frame in frames] if flip else frames
        (output,) = self.model([item | {"image": clip}])
        probabilities = self._kind.probabilities_of(output["sem_seg"])
        return probabilities.flip(-1) if flip else probabilities


def _to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
