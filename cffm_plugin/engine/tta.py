"""Test-time augmentation: class probabilities averaged over scales and flips."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from torch import Tensor, nn

from ..data import read_image
from ..data.augmentation import inference_augmentations
from ..data.images import image_to_tensor


class ClipSegmentorWithTTA(nn.Module):
    """Wraps a segmentor of clips or images, in the way of detectron2's ``GeneralizedRCNNWithTTA``.

    The frames are read again from their files and resized for every scale, so that large scales
    see more than the ordinary test does. Inputs of the wrapped model are otherwise unchanged, such
    as prototypes.

    Args:
        model: a CFFMSegmentor, or any model with its input and output format.
        scales: the size that frames are fit into is multiplied by each.
        flip: also take the horizontally flipped frames of every scale.
        fit_size: (long side, short side) at scale 1.
        divisor: sides are brought to multiples of it.
        image_format: channel order that the model takes, "RGB" or "BGR".
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        flip: bool = True,
        fit_size: tuple[int, int] = (853, 480),
        divisor: int = 32,
        image_format: str = "RGB",
    ):
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"TEST.AUG.SCALES holds positive numbers, got {tuple(scales)}")
        self.model = model
        self.flips = (False, True) if flip else (False,)
        self.image_format = image_format
        self.resizes = []
        for scale in scales:
            long_side, short_side = (max(1, int(side * scale)) for side in fit_size)
            augmentations = inference_augmentations(
                fit_size=(long_side, short_side), divisor=divisor
            )
            self.resizes.append(T.AugmentationList(augmentations))

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        return {
            "model": model,
            "scales": cfg.TEST.AUG.SCALES,
            "flip": cfg.TEST.AUG.FLIP,
            "fit_size": cfg.INPUT.CLIP.FIT_SIZE,
            "divisor": max(1, cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY),
            "image_format": cfg.INPUT.FORMAT,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """
        Args:
            batched_inputs: as for the model, with ``file_name`` and ``reference_file_names`` of the
                clip's frames, as the test mapper leaves them.

        Returns:
            a list of ``{"sem_seg": (K, height, width)}`` class probabilities, which sum to 1.
        """
        return [{"sem_seg": self._average(item)} for item in batched_inputs]

    def _average(self, item: dict[str, Any]) -> Tensor:
        references = item.get("reference_file_names", ())
        images = [read_image(file) for file in (*references, item["file_name"])]
        images = images[-len(_clip_of(item)) :]  # an image segmentor reads the target alone
        total: Tensor | float = 0.0
        for resize in self.resizes:
            target = T.AugInput(images[-1])
            transforms = resize(target)
            frames = [
                image_to_tensor(transforms.apply_image(image), self.image_format)
                for image in images
            ]
            for flip in self.flips:
                total = total + self._probabilities(item, frames, flip)
        assert isinstance(total, Tensor)
        return total / (len(self.resizes) * len(self.flips))

    def _probabilities(self, item: dict[str, Any], frames: list[Tensor], flip: bool) -> Tensor:
        clip = [frame.flip(-1) for frame in frames] if flip else frames
        (output,) = self.model([item | {"image": clip}])
        probabilities = output["sem_seg"].softmax(dim=0)
        return probabilities.flip(-1) if flip else probabilities


def _clip_of(item: dict[str, Any]) -> list[Tensor]:
    return [item["image"]] if isinstance(item["image"], Tensor) else item["image"]
