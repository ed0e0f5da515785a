"""Augmentations of clips, as detectron2 Augmentations and Transforms.

detectron2's own way makes one draw for a whole clip: the augmentations run on the target frame,
and the transforms that they return are applied to the other frames. ``ColorDistortion`` draws when
it is applied, so every frame gets its own. Images are blue-green-red uint8, labels class indices.
"""

from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from ..libraries import OptionalLibrary, import_library
from .images import IGNORE_LABEL

cv2 = OptionalLibrary("cv2", "Resizing and padding frames")


class OpenCVResize(T.ResizeTransform):
    """Resize images bilinearly and labels to the nearest, both as OpenCV does it.

    detectron2's ResizeTransform uses Pillow, which antialiases. A frame of another size than (h, w)
    is brought to (new_h, new_w) too.
    """

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """(H, W) or (H, W, C) -> the same with (new_h, new_w); ``interp``: by default bilinear."""
        if img.shape[:2] == (self.new_h, self.new_w):
            return img
        interpolation = cv2.INTER_LINEAR if interp is None else interp
        return cv2.resize(img, (self.new_w, self.new_h), interpolation=interpolation)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(H, W) labels -> (new_h, new_w), values from ``segmentation`` only."""
        return self.apply_image(segmentation, cv2.INTER_NEAREST)

    def inverse(self) -> "OpenCVResize":
        return OpenCVResize(self.new_h, self.new_w, self.h, self.w)


class ResizeToFit(T.Augmentation):
    """Scale to fit within a size times a random ratio, aspect kept.

    Args:
        size: (long side, short side) in pixels.
        ratio_range: both sides of ``size`` are multiplied by a ratio drawn uniformly from it.
    """

    def __init__(self, size: tuple[int, int], ratio_range: tuple[float, float] = (1.0, 1.0)):
        super().__init__()
        if not size[0] >= size[1] >= 1:
            raise ValueError(f"size is (long side, short side), such as (853, 480); got {size}.")
        if not 0 < ratio_range[0] <= ratio_range[1]:
            raise ValueError(f"ratio_range is (low, high) with 0 < low <= high; got {ratio_range}.")
        self.size = size
        self.ratio_range = ratio_range

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        low, high = self.ratio_range
        ratio = low if low == high else np.random.uniform(low, high)
        long_limit, short_limit = (int(side * ratio) for side in self.size)
        scale = min(long_limit / max(height, width), short_limit / min(height, width))
        new_height, new_width = (max(1, int(side * scale + 0.5)) for side in (height, width))
        return OpenCVResize(height, width, new_height, new_width)


class ResizeToMultiple(T.Augmentation):
    """Bring each side up to the next multiple of ``divisor`` by a resize; aspect is not kept."""

    def __init__(self, divisor: int):
        super().__init__()
        if divisor < 1:
            raise ValueError(f"divisor must be at least 1, got {divisor}.")
        self.divisor = divisor

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        new_height, new_width = (
            -(-side // self.divisor) * self.divisor for side in (height, width)
        )
        return OpenCVResize(height, width, new_height, new_width)


class PadBottomRight(Transform):
    """Append rows at the bottom and columns at the right: ``fill`` in images, 255 in labels."""

    def __init__(self, rows: int, columns: int, fill: Sequence[float]):
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.fill = fill

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (H + rows, W + columns, C); float32 where uint8 can't hold ``fill``."""
        if not all(value in range(256) for value in self.fill):
            img = img.astype(np.float32)
        return self._pad(img, self.fill)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(H, W) -> (H + rows, W + columns)."""
        return self._pad(segmentation, IGNORE_LABEL)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def _pad(self, array: np.ndarray, value: Sequence[float] | int) -> np.ndarray:
        return cv2.copyMakeBorder(
            array, 0, self.rows, 0, self.columns, cv2.BORDER_CONSTANT, value=value
        )


class PadToSize(T.Augmentation):
    """Pad images at the bottom and right up to ``size``, so that the model sees zeros there.

    Args:
        size: (height, width); a side that is larger stays as it is.
        pixel_mean: per channel, in the images' channel order, what the model will subtract.
    """

    def __init__(self, size: tuple[int, int], pixel_mean: Sequence[float]):
        super().__init__()
        self.size = size
        self.pixel_mean = pixel_mean

    def get_transform(self, image: np.ndarray) -> Transform:
        rows, columns = (max(0, want - have) for want, have in zip(self.size, image.shape[:2]))
        if not (rows or columns):
            return NoOpTransform()
        return PadBottomRight(rows, columns, self.pixel_mean)


def training_augmentations(
    *,
    fit_size: tuple[int, int] = (853, 480),
    ratio_range: tuple[float, float] = (0.5, 2.0),
    crop_size: tuple[float, float] | None = (480, 480),
    crop_type: str = "absolute",
    max_class_area: float = 0.75,
    flip: str = "horizontal",
    color: bool = True,
    pixel_mean: Sequence[float] = (103.53, 116.28, 123.675),
) -> list[T.Augmentation | Transform]:
    """The training augmentations in order; the defaults are the paper's on VSPW.

    Args:
        fit_size, ratio_range: see ``ResizeToFit``.
        crop_size: (height, width), or None for no crop and no padding. What it means depends on
            ``crop_type``, see detectron2's RandomCrop. Only "absolute" crops are padded.
        max_class_area: the crop is drawn again, 10 draws in all, while one class covers this part
            of the target's labelled pixels in it, or only one is there. 1.0 allows any crop.
        flip: "horizontal", "vertical" or "none".
        color: whether to distort colours.
        pixel_mean: blue, green, red; see ``PadToSize``.
    """
    if flip not in ("horizontal", "vertical", "none"):
        raise ValueError(f'flip is "horizontal", "vertical" or "none", got "{flip}".')
    augmentations: list[T.Augmentation | Transform] = [ResizeToFit(fit_size, ratio_range)]
    if crop_size is not None:
        augmentations.append(
            T.RandomCrop_CategoryAreaConstraint(
                crop_type, crop_size, max_class_area, ignored_category=IGNORE_LABEL
            )
        )
    if flip != "none":
        augmentations.append(
            T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical")
        )
    if color:
        import_library("cv2", "INPUT.CLIP.COLOR_DISTORTION")
        from .color_distortion import ColorDistortion  # loads a project that loads OpenCV

        augmentations.append(ColorDistortion("BGR"))
    if crop_size is not None and crop_type == "absolute":
        augmentations.append(PadToSize((int(crop_size[0]), int(crop_size[1])), pixel_mean))
    return augmentations


def build_training_augmentations(cfg: CfgNode) -> list[T.Augmentation | Transform]:
    """What INPUT says of clips in training."""
    crop, mean = cfg.INPUT.CROP, cfg.MODEL.PIXEL_MEAN
    return training_augmentations(
        fit_size=cfg.INPUT.CLIP.FIT_SIZE,
        ratio_range=cfg.INPUT.CLIP.RATIO_RANGE,
        crop_size=tuple(crop.SIZE) if crop.ENABLED else None,
        crop_type=crop.TYPE,
        max_class_area=crop.SINGLE_CATEGORY_MAX_AREA,
        flip=cfg.INPUT.RANDOM_FLIP,
        color=cfg.INPUT.CLIP.COLOR_DISTORTION,
        pixel_mean=mean[::-1] if cfg.INPUT.FORMAT == "RGB" else mean,
    )


def inference_augmentations(
    *, fit_size: tuple[int, int] = (853, 480), divisor: int = 32
) -> list[T.Augmentation | Transform]:
    """Fit to ``fit_size``, then up to the next multiple of ``divisor``. Nothing random."""
    return [ResizeToFit(fit_size), ResizeToMultiple(divisor)]


def build_test_augmentations(cfg: CfgNode, scale: float = 1.0) -> list[T.Augmentation | Transform]:
    """What INPUT.CLIP says of frames in test, with FIT_SIZE times ``scale``."""
    node = cfg.INPUT.CLIP
    long_side, short_side = (max(1, int(side * scale)) for side in node.FIT_SIZE)
    return inference_augmentations(
        fit_size=(long_side, short_side), divisor=max(1, node.TEST_SIZE_DIVISIBILITY)
    )
