"""What the synthetic classes look like: colours, textures and outlines."""

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..libraries import OptionalLibrary
from .config import MAX_CLASSES

cv2 = OptionalLibrary("cv2", "Rendering videos")


@dataclass(frozen=True)
class Style:
    """What a class looks like. Lengths are in units of ``length_unit``: pixels at 168x224."""

    name: str
    is_stuff: bool
    color: tuple[float, float, float]  # mean, RGB, 0..255
    pattern: str  # a key of PATTERNS
    wavelength: float
    angle: float = 0.0  # of the pattern, degrees
    shape: str = "blob"  # things only: a key of SHAPES
    altitude: float = 0.5  # stuff only: 1 is usually at the top of the view, 0 at the bottom


_NAMED_STYLES = (
    Style("sky", True, (120, 138, 162), "streaks", 17, 0, altitude=1.0),
    Style("ball", False, (158, 114, 104), "stripes", 9, 0, "ellipse"),
    Style("grass", True, (112, 138, 104), "streaks", 6, 90, altitude=0.1),
    Style("crate", False, (152, 132, 104), "checks", 11, 0, "polygon"),
    Style("wall", True, (144, 130, 112), "checks", 19, 0, altitude=0.7),
    Style("kite", False, (134, 112, 152), "stripes", 15, 0, "polygon"),
    Style("water", True, (110, 136, 154), "stripes", 11, 90, altitude=0.2),
    Style("fish", False, (112, 134, 140), "spots", 8, 0, "ellipse"),
    Style("flower", False, (154, 112, 134), "spots", 14, 0, "star"),
    Style("bush", False, (122, 146, 110), "grain", 10, 0, "blob"),
)


def _generated_style(k: int) -> Style:
    hue, value = (k * 0.618034) % 1.0, 118 + 46 * ((k * 0.414214) % 1.0)
    red, green, blue = (float(value * c) for c in colorsys.hsv_to_rgb(hue, 0.34, 1.0))
    is_stuff = k % 2 == 0
    return Style(
        name=f"{'stuff' if is_stuff else 'thing'}_{k:03d}",
        is_stuff=is_stuff,
        color=(red, green, blue),
        pattern=sorted(PATTERNS)[(k // 2) % len(PATTERNS)],
        wavelength=6.0 + 14.0 * ((k * 0.732051) % 1.0),
        angle=(k * 67.5) % 180.0,
        shape=sorted(SHAPES)[(k // 2) % len(SHAPES)],
        altitude=(k * 0.236068) % 1.0,
    )


def _label_color(k: int) -> tuple[int, int, int]:
    """A saturated RGB to draw labels with; unlike the mean colours, easy to tell apart."""
    saturation, value = (0.9, 0.55)[k // 3 % 2], (0.95, 0.75, 0.5)[k % 3]
    red, green, blue = colorsys.hsv_to_rgb(k * 0.618034 % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def smooth_noise(u: np.ndarray, v: np.ndarray, rng: Generator) -> np.ndarray:
    """Smooth random field at coordinates u, v in wavelengths, about zero mean, unit deviation."""
    lattice = rng.standard_normal((64, 64), dtype=np.float32) * 1.4
    u, v = ((c % 64).astype(np.float32) for c in (u + 32, v + 32))
    return cv2.remap(lattice, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def _checks(u: np.ndarray, v: np.ndarray, rng: Generator) -> np.ndarray:
    bend = 0.5 * smooth_noise(u / 3, v / 3, rng)
    return np.sin(2 * np.pi * u + bend) * np.sin(2 * np.pi * v + bend)


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, Generator], np.ndarray]] = {
    "stripes": lambda u, v, rng: np.sin(2 * np.pi * u + 1.2 * smooth_noise(u / 3, v / 3, rng)),
    "checks": _checks,
    "spots": lambda u, v, rng: np.tanh(4 * (smooth_noise(1.7 * u, 1.7 * v, rng) - 0.6)),
    "streaks": lambda u, v, rng: smooth_noise(u / 3, 2 * v, rng),
    "grain": lambda u, v, rng: smooth_noise(2 * u, 2 * v, rng),
}


def draw_texture(style: Style, height: int, width: int, unit: float, rng: Generator) -> np.ndarray:
    """One instance of a class's texture, (height, width, 3) float32 BGR."""
    wavelength = max(style.wavelength * unit, 3.0) * rng.uniform(0.85, 1.18)
    angle = math.radians(style.angle + rng.normal(0, 9))
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(wavelength)
    u = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    v = y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))
    pattern = PATTERNS[style.pattern](u, v, rng)
    pattern = (pattern - pattern.mean()) / (pattern.std() + 1e-3)  # the mean stays the colour's
    axis = 1.0 + rng.normal(0, 0.25, 3)
    mean = np.array(style.color[::-1]) + rng.normal(0, 5) + rng.normal(0, 8, 3)
    stains = 5.0 * smooth_noise(x * wavelength / (45 * unit), y * wavelength / (45 * unit), rng)
    contrast = rng.uniform(17, 27)
    shade = contrast * pattern[..., None] * axis + stains[..., None]
    return (mean + shade).astype(np.float32)


def _outline(radii: np.ndarray, aspect: float) -> np.ndarray:
    """Polar radii in 0..1, equally spaced in angle -> polygon (N, 2) within the unit disc."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles) * aspect], axis=1)
    return points * (radii / radii.max())[:, None]


def _waves(count: int, depth: float, rng: Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return depth * np.sin(count * angles + rng.uniform(0, 2 * np.pi))


def _blob(rng: Generator) -> np.ndarray:
    lobes = sum(_waves(n, rng.uniform(0.05, 0.22), rng) for n in (2, 3, 4))
    return _outline(1 + np.asarray(lobes), rng.uniform(0.6, 1.0))


SHAPES: dict[str, Callable[[Generator], np.ndarray]] = {
    "ellipse": lambda rng: _outline(np.ones(48), rng.uniform(0.45, 1.0)),
    "polygon": lambda rng: _outline(
        rng.uniform(0.75, 1.0, rng.integers(4, 6)), rng.uniform(0.7, 1.0)
    ),
    "star": lambda rng: _outline(
        1 + _waves(int(rng.integers(4, 8)), 0.35, rng), rng.uniform(0.8, 1.0)
    ),
    "blob": _blob,
}

STYLES = _NAMED_STYLES + tuple(_generated_style(k) for k in range(len(_NAMED_STYLES), MAX_CLASSES))
SYNTHETIC_CLASSES = tuple(style.name for style in STYLES)
"""Names of all 124 classes; a dataset of K classes uses the first K."""
SYNTHETIC_COLORS = tuple(_label_color(k) for k in range(MAX_CLASSES))
"""RGB to draw each class's label with."""
