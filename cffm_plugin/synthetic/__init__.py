"""A synthetic video segmentation dataset in VSPW's layout: a measuring instrument.

Each video is a camera that pans and zooms over a plane of textured stuff while textured things move
across it and hide each other. Labels are exact, of the sharp scene at the middle of the exposure.
What makes one frame ambiguous is drawn anew in each frame, so that neighbouring frames help:

- sensor noise: per-pixel grain, and coarser blotches that shift the mean colour of whole objects;
- motion blur: the mean of several renderings within one exposure of a moving, shaken camera;
- light: a gain, gamma and tint per frame, and a soft shadow that wanders;
- occlusion: bands that cross the view within some frames. A solid bar is nobody's class and
  labelled void; a veil (spray, glare) hides the texture, and the label stays what is behind it.

A class is a mean colour, a pattern and, for things, a family of shapes. Some classes nearly share a
colour, others a pattern, others a shape. Colour, scale and contrast vary from instance to instance.
"""

from ..data.datasets.vspw import register_builtin_in_vspw_layout
from .config import SPLITS, SyntheticConfig
from .render import render_video
from .textures import SYNTHETIC_CLASSES, SYNTHETIC_COLORS
from .writer import write_synthetic_vspw

__all__ = [
    "SPLITS",
    "SYNTHETIC_CLASSES",
    "SYNTHETIC_COLORS",
    "SyntheticConfig",
    "render_video",
    "write_synthetic_vspw",
]

register_builtin_in_vspw_layout(
    "synthetic_vspw",
    "synthetic_vspw",
    "Make it with cffm synthetic",
    classes=SYNTHETIC_CLASSES[: SyntheticConfig.num_classes],
    colors=SYNTHETIC_COLORS[: SyntheticConfig.num_classes],
)
