"""The augmentation of colours, a module of its own: detectron2's PointRend project loads OpenCV."""

import random

import cv2
import numpy as np
from detectron2.projects.point_rend import ColorAugSSDTransform


class ColorDistortion(ColorAugSSDTransform):
    """Brightness, contrast, saturation and hue, drawn anew every time it is applied.

    As detectron2's, but the hue shift is an integer in [-hue_delta, hue_delta - 1].
    """

    def hue(self, img: np.ndarray) -> np.ndarray:
        if not random.randrange(2):
            return img
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
        shift = random.randint(-self.hue_delta, self.hue_delta - 1)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int16) + shift) % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
