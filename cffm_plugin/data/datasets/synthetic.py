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

import colorsys
import json
import logging
import math
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

SPLITS = ("train", "val", "test")
MAX_CLASSES = 124
VOID_OBJECT = 0  # raw mask value of things that are no class, and of solid bars
VOID_BORDER = 255  # raw mask value of the outlines that an annotator would leave out

_RENDERER_VERSION = 1  # part of what is stored: raise it when the same config gives other bytes
_JPEG_QUALITY = 92
_SUBFRAMES = 5  # renderings averaged for one exposure; odd, so that one is the middle
_SHUTTER = 0.6  # the exposure, as a fraction of the time between two frames
_SCENE, _FRAMES, _BANDS, _DECK = range(4)  # random streams of a video; _DECK, of a split
_AUTHOR = "cffm_plugin.data.datasets.synthetic"
_COMPLETE = "synthetic.json"
_PARTIAL = "synthetic.partial.json"
_SCRATCH = "synthetic.json.tmp"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """All that decides the bytes of a synthetic dataset.

    Attributes:
        height, width: size of the frames in pixels. The scene scales with them; grain does not.
        frames_per_video: frames in each video. A shorter video is the start of a longer one.
        num_videos: split -> number of videos; splits are "train", "val" and "test".
        num_classes: K, 2..124. What class k looks like does not depend on K or on ``seed``.
        seed: which dataset; the same bytes on like machines with the same OpenCV and NumPy.
        noise: standard deviation of the grain, in grey levels of 255; blotches go with it.
        flicker: strength of the changes of light from frame to frame, and of the shadow.
        blur: strength of the camera's shake and length of the exposure.
        occlusion: how often bars and veils cross the view.
        motion: speed of camera and things; at 1, the highest speed of the camera is 0.3-0.9 %
            of the width per frame, of things in the world 0.3-1.5 %, and they turn and swell.

    The last five are strengths: the defaults are the standard benchmark, 0 is none. None but
    ``motion`` and, by its bars, ``occlusion`` changes the labels.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    height: int = 168
    width: int = 224
    frames_per_video: int = 24
    num_videos: Mapping[str, int] = field(
        default_factory=lambda: {"train": 40, "val": 10, "test": 10}, hash=False
    )
    num_classes: int = 10
    seed: int = 0
    noise: float = 26.0
    flicker: float = 1.0
    blur: float = 1.0
    occlusion: float = 1.0
    motion: float = 1.0

    def __post_init__(self) -> None:
        for name in ("height", "width", "frames_per_video"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        for name in ("noise", "flicker", "blur", "occlusion", "motion", "seed"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative", getattr(self, name))
        _require(
            2 <= self.num_classes <= MAX_CLASSES,
            f"num_classes must be 2..{MAX_CLASSES}",
            self.num_classes,
        )
        _require(
            set(self.num_videos) <= set(SPLITS)
            and all(count >= 0 for count in self.num_videos.values()),
            f"num_videos must map {', '.join(SPLITS)} to counts from 0 up",
            dict(self.num_videos),
        )

    def videos(self) -> list[tuple[str, int]]:
        """(split, index) of every video, in the order of the split files."""
        return [(s, i) for s in SPLITS for i in range(self.num_videos.get(s, 0))]


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        raise ValueError(f"SyntheticConfig: {rule}, got {value!r}")


# ---------------------------------------------------------------------------------------- classes


@dataclass(frozen=True)
class _Style:
    """What a class looks like. Lengths are in units of ``_unit``: pixels at 168x224."""

    name: str
    is_stuff: bool
    color: tuple[float, float, float]  # mean, RGB, 0..255
    pattern: str  # a key of _PATTERNS
    wavelength: float
    angle: float = 0.0  # of the pattern, degrees
    shape: str = "blob"  # things only: a key of _SHAPES
    altitude: float = 0.5  # stuff only: 1 is usually at the top of the view, 0 at the bottom


_NAMED_STYLES = (
    _Style("sky", True, (120, 138, 162), "streaks", 17, 0, altitude=1.0),
    _Style("ball", False, (158, 114, 104), "stripes", 9, 0, "ellipse"),
    _Style("grass", True, (112, 138, 104), "streaks", 6, 90, altitude=0.1),
    _Style("crate", False, (152, 132, 104), "checks", 11, 0, "polygon"),
    _Style("wall", True, (144, 130, 112), "checks", 19, 0, altitude=0.7),
    _Style("kite", False, (134, 112, 152), "stripes", 15, 0, "polygon"),
    _Style("water", True, (110, 136, 154), "stripes", 11, 90, altitude=0.2),
    _Style("fish", False, (112, 134, 140), "spots", 8, 0, "ellipse"),
    _Style("flower", False, (154, 112, 134), "spots", 14, 0, "star"),
    _Style("bush", False, (122, 146, 110), "grain", 10, 0, "blob"),
)


def _generated_style(k: int) -> _Style:
    hue, value = (k * 0.618034) % 1.0, 118 + 46 * ((k * 0.414214) % 1.0)
    red, green, blue = (float(value * c) for c in colorsys.hsv_to_rgb(hue, 0.34, 1.0))
    is_stuff = k % 2 == 0
    return _Style(
        name=f"{'stuff' if is_stuff else 'thing'}_{k:03d}",
        is_stuff=is_stuff,
        color=(red, green, blue),
        pattern=sorted(_PATTERNS)[(k // 2) % len(_PATTERNS)],
        wavelength=6.0 + 14.0 * ((k * 0.732051) % 1.0),
        angle=(k * 67.5) % 180.0,
        shape=sorted(_SHAPES)[(k // 2) % len(_SHAPES)],
        altitude=(k * 0.236068) % 1.0,
    )


def _palette() -> tuple[tuple[int, int, int], ...]:
    """Saturated colours to draw labels with; unlike the mean colours, easy to tell apart."""
    colors = []
    for k in range(MAX_CLASSES):
        hue, saturation, value = (
            k * 0.618034 % 1.0,
            (0.9, 0.55)[k // 3 % 2],
            (0.95, 0.75, 0.5)[k % 3],
        )
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))
        colors.append((red, green, blue))
    return tuple(colors)


# ------------------------------------------------------------------------------ textures and shapes


def _noise(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field at coordinates u, v in wavelengths, about zero mean, unit deviation."""
    lattice = rng.standard_normal((64, 64), dtype=np.float32) * 1.4
    u, v = ((c % 64).astype(np.float32) for c in (u + 32, v + 32))
    return cv2.remap(lattice, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def _stripes(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sin(2 * np.pi * u + 1.2 * _noise(u / 3, v / 3, rng))


def _checks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    bend = 0.5 * _noise(u / 3, v / 3, rng)
    return np.sin(2 * np.pi * u + bend) * np.sin(2 * np.pi * v + bend)


def _spots(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.tanh(4 * (_noise(1.7 * u, 1.7 * v, rng) - 0.6))


def _streaks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _noise(u / 3, 2 * v, rng)


def _grain(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _noise(2 * u, 2 * v, rng)


_PATTERNS = {
    "stripes": _stripes,
    "checks": _checks,
    "spots": _spots,
    "streaks": _streaks,
    "grain": _grain,
}


def _texture(
    style: _Style, height: int, width: int, unit: float, rng: np.random.Generator
) -> np.ndarray:
    """One instance of a class's texture, (height, width, 3) float32 BGR."""
    wavelength = max(style.wavelength * unit, 3.0) * rng.uniform(0.85, 1.18)
    angle = math.radians(style.angle + rng.normal(0, 9))
    y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(wavelength)
    u = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    v = y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))
    pattern = _PATTERNS[style.pattern](u, v, rng)
    pattern = (pattern - pattern.mean()) / (pattern.std() + 1e-3)  # the mean stays the colour's
    axis = 1.0 + rng.normal(0, 0.25, 3)
    mean = np.array(style.color[::-1]) + rng.normal(0, 5) + rng.normal(0, 8, 3)
    stains = 5.0 * _noise(x * wavelength / (45 * unit), y * wavelength / (45 * unit), rng)
    contrast = rng.uniform(17, 27)
    shade = contrast * pattern[..., None] * axis + stains[..., None]
    return (mean + shade).astype(np.float32)


def _outline(radii: np.ndarray, aspect: float) -> np.ndarray:
    """Polar radii in 0..1, equally spaced in angle -> polygon (N, 2) within the unit disc."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles) * aspect], axis=1)
    return points * (radii / radii.max())[:, None]


def _ellipse(rng: np.random.Generator) -> np.ndarray:
    return _outline(np.ones(48), rng.uniform(0.45, 1.0))


def _polygon(rng: np.random.Generator) -> np.ndarray:
    return _outline(rng.uniform(0.75, 1.0, rng.integers(4, 6)), rng.uniform(0.7, 1.0))


def _waves(count: int, depth: float, rng: np.random.Generator) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return depth * np.sin(count * angles + rng.uniform(0, 2 * np.pi))


def _star(rng: np.random.Generator) -> np.ndarray:
    return _outline(1 + _waves(int(rng.integers(4, 8)), 0.35, rng), rng.uniform(0.8, 1.0))


def _blob(rng: np.random.Generator) -> np.ndarray:
    lobes = sum(_waves(n, rng.uniform(0.05, 0.22), rng) for n in (2, 3, 4))
    return _outline(1 + np.asarray(lobes), rng.uniform(0.6, 1.0))


_SHAPES = {"ellipse": _ellipse, "polygon": _polygon, "star": _star, "blob": _blob}

_STYLES = _NAMED_STYLES + tuple(_generated_style(k) for k in range(len(_NAMED_STYLES), MAX_CLASSES))
SYNTHETIC_CLASSES = tuple(style.name for style in _STYLES)
"""Names of all 124 classes; a dataset of K classes uses the first K."""
SYNTHETIC_COLORS = _palette()
"""RGB to draw each class's label with."""


# ------------------------------------------------------------------------------------------- scene


def _unit(config: SyntheticConfig) -> float:
    """The length that is one pixel at 168x224."""
    return math.sqrt(config.height * config.width / (168 * 224))


@dataclass(frozen=True)
class _Orbit:
    """A point on an ellipse at constant rate: smooth, curved, bounded for any length of video."""

    center: np.ndarray  # (2,) x, y
    radius: float
    flatness: float  # minor over major axis
    tilt: float
    rate: float  # radians per frame
    phase: float

    @classmethod
    def draw(
        cls, center: np.ndarray, radius: float, speed: float, rng: np.random.Generator
    ) -> "_Orbit":
        """An orbit whose highest speed is ``speed`` pixels per frame."""
        rate = speed / radius * rng.choice((-1, 1))
        tilt, phase = rng.uniform(0, 2 * np.pi, 2)
        return cls(center, radius, rng.uniform(0.6, 1.0), tilt, rate, phase)

    def __call__(self, time: float) -> np.ndarray:
        along = self.radius * math.cos(self.rate * time + self.phase)
        across = self.radius * self.flatness * math.sin(self.rate * time + self.phase)
        c, s = math.cos(self.tilt), math.sin(self.tilt)
        return self.center + np.array([c * along - s * across, s * along + c * across])


@dataclass(frozen=True)
class _Swing:
    """A number that swings around a mean."""

    mean: float
    amplitude: float
    rate: float
    phase: float

    def __call__(self, time: float) -> float:
        return self.mean + self.amplitude * math.sin(self.rate * time + self.phase)

    @classmethod
    def draw(
        cls, mean: float, amplitude: float, motion: float, rng: np.random.Generator
    ) -> "_Swing":
        period = rng.uniform(60, 140)
        return cls(mean, amplitude, motion * 2 * np.pi / period, rng.uniform(0, 2 * np.pi))


def _similarity(
    scale: float, angle: float, source: np.ndarray, destination: np.ndarray
) -> np.ndarray:
    """(3, 3) map that scales and turns around ``source`` and puts it at ``destination``."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    matrix[:2, 2] = destination - matrix[:2, :2] @ source
    return matrix


@dataclass(frozen=True)
class _Camera:
    """World -> frame. The world's origin is where the camera looks on average."""

    path: _Orbit
    zoom: _Swing
    roll: _Swing
    center: np.ndarray  # of the frame, pixels

    def __call__(self, time: float, shake: np.ndarray) -> np.ndarray:
        return _similarity(self.zoom(time), self.roll(time), self.path(time), self.center + shake)


@dataclass(frozen=True, eq=False)
class _Thing:
    """A textured object: colour and signed distance to its outline, on a square patch."""

    patch: np.ndarray  # (P, P, 4) float32: blue, green, red, distance inside the outline in pixels
    raw_value: int
    void_border: float  # half the width of the void outline in pixels; 0 for none
    path: _Orbit
    scale: _Swing
    spin: float  # radians per frame
    heading: float

    def to_world(self, time: float) -> np.ndarray:
        middle = np.full(2, (self.patch.shape[0] - 1) / 2)
        turn = self.heading + self.spin * time
        return _similarity(self.scale(time), turn, middle, self.path(time))


@dataclass(frozen=True, eq=False)
class _Scene:
    stuff_image: np.ndarray  # (h, w, 3) float32
    stuff_labels: np.ndarray  # (h, w) uint8 raw values
    things: list[_Thing]  # the farthest first
    camera: _Camera
    shadow: _Orbit  # in frame coordinates
    shadow_radius: float


def _draw_scene(config: SyntheticConfig, split: str, index: int) -> _Scene:
    rng = _generator(config, split, index, stream=_SCENE)
    stuff, things = _choose_classes(config, split, index, rng)
    size = np.array([config.width, config.height], dtype=float)
    speed = config.motion * config.width * rng.uniform(0.003, 0.009)
    camera = _Camera(
        path=_Orbit.draw(np.zeros(2), config.width * rng.uniform(0.08, 0.2), speed, rng),
        zoom=_Swing.draw(1.05, rng.uniform(0.03, 0.12), config.motion, rng),
        roll=_Swing.draw(0.0, math.radians(4), config.motion, rng),
        center=(size - 1) / 2,
    )
    image, labels = _draw_stuff(config, stuff, rng)
    return _Scene(
        stuff_image=image,
        stuff_labels=labels,
        things=[_draw_thing(config, k, rng) for k in things],
        camera=camera,
        shadow=_Orbit.draw(size / 2, config.width * 0.4, 0.02 * config.width, rng),
        shadow_radius=config.width * rng.uniform(0.15, 0.35),
    )


def _generator(config: SyntheticConfig, split: str, index: int, stream: int) -> np.random.Generator:
    key = (SPLITS.index(split), index, stream)
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))


def _choose_classes(
    config: SyntheticConfig, split: str, index: int, rng: np.random.Generator
) -> tuple[list[int], list[int | None]]:
    """Classes of a video's stuff and things; None is a void thing.

    Two kinds of stuff and four things are dealt from a shuffled deck, round and round through a
    split's videos, so that every class comes up if there are enough videos. Others are chance.
    """

    def deal(deck: list[int], hand: int, extra: int) -> list[int]:
        order = _generator(config, split, 0, stream=_DECK).permutation(deck)
        dealt = [int(order[(index * hand + i) % len(deck)]) for i in range(hand)]
        return dealt + [int(k) for k in rng.choice(deck, extra)]

    classes = range(config.num_classes)
    stuff = deal([k for k in classes if _STYLES[k].is_stuff], 2, int(rng.integers(0, 3)))
    dealt = deal([k for k in classes if not _STYLES[k].is_stuff], 4, int(rng.integers(1, 5)))
    things: list[int | None] = [*dealt, *([None] if rng.random() < 0.35 else [])]
    order = rng.permutation(len(things))
    return sorted(set(stuff)), [things[i] for i in order]


def _draw_stuff(
    config: SyntheticConfig, classes: list[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The plane behind the things: image (h, w, 3) float32 and raw labels (h, w) uint8.

    The regions are the cells of some scattered points, with the plane bent to curve the borders.
    """
    view = np.array([config.width, config.height])
    width, height = np.ceil(view * 1.25 + 0.45 * config.width).astype(int)
    points = _scattered_points(len(classes) + int(rng.integers(0, 3)), rng) * view * 0.42
    points = points[np.argsort(points[:, 1])]
    wishes = np.array([_STYLES[k].altitude for k in classes]) + rng.normal(0, 0.25, len(classes))
    from_top = np.array(classes)[np.argsort(-wishes)]
    owners = from_top[np.arange(len(points)) * len(classes) // len(points)]

    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    length = np.float32(0.22 * config.width)
    bend = 0.07 * config.width
    bent_x = x + bend * _noise(x / length, y / length, rng)
    bent_y = y + bend * _noise(x / length, y / length, rng)
    distances = np.stack([(bent_x - px) ** 2 + (bent_y - py) ** 2 for px, py in points])
    owner = owners[distances.argmin(axis=0)]  # (h, w) class indices

    image = np.empty((height, width, 3), np.float32)
    for k in classes:
        inside = owner == k
        image[inside] = _texture(_STYLES[k], height, width, _unit(config), rng)[inside]
    return image, (owner + 1).astype(np.uint8)


def _scattered_points(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) points in -1..1 that keep apart: each is the best of some candidates."""
    points = rng.uniform(-1, 1, (1, 2))
    for _ in range(count - 1):
        candidates = rng.uniform(-1, 1, (12, 2))
        gaps = np.linalg.norm(candidates[:, None] - points[None], axis=2).min(axis=1)
        points = np.concatenate([points, candidates[[gaps.argmax()]]])
    return points


def _draw_thing(config: SyntheticConfig, k: int | None, rng: np.random.Generator) -> _Thing:
    """One object of class ``k``, or of none if ``k`` is None."""
    style = _void_style(rng) if k is None else _STYLES[k]
    radius = max(config.width * rng.uniform(0.085, 0.185), 2.0)
    side = 2 * math.ceil(radius) + 7
    outline = _SHAPES[style.shape](rng) * radius + (side - 1) / 2
    inside = np.zeros((side, side), np.uint8)
    cv2.fillPoly(inside, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance -= cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    distance -= np.sign(distance) * np.float32(0.5)  # to the outline, not the next pixel's centre
    texture = _texture(style, side, side, _unit(config), rng)
    home = rng.uniform(-0.38, 0.38, 2) * (config.width, config.height)
    speed = config.motion * config.width * rng.uniform(0.003, 0.015)
    return _Thing(
        patch=np.dstack([texture, distance]),
        raw_value=VOID_OBJECT if k is None else k + 1,
        void_border=max(0.9 * _unit(config), 0.7) if rng.random() < 0.4 else 0.0,
        path=_Orbit.draw(home, config.width * rng.uniform(0.12, 0.3), speed, rng),
        scale=_Swing.draw(1.0, 0.15, config.motion, rng),
        spin=config.motion * math.radians(rng.normal(0, 1.5)),
        heading=rng.uniform(0, 2 * np.pi),
    )


def _void_style(rng: np.random.Generator) -> _Style:
    """Something that is no class: any colour, pattern and shape."""
    red, green, blue = (float(c) for c in rng.uniform(90, 170, 3))
    return replace(
        _STYLES[1],
        color=(red, green, blue),
        pattern=str(rng.choice(sorted(_PATTERNS))),
        wavelength=rng.uniform(6, 20),
        shape=str(rng.choice(sorted(_SHAPES))),
    )


# ------------------------------------------------------------------------------------- one exposure


def _paint(
    scene: _Scene, size: tuple[int, int], time: float, shake: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sharp scene, (H, W, 3) float32, and its raw labels, (H, W) uint8. size: (W, H)."""
    to_frame = scene.camera(time, shake)
    height, width = scene.stuff_labels.shape
    middle = np.array([width - 1, height - 1]) / 2
    stuff = (to_frame @ _similarity(1.0, 0.0, middle, np.zeros(2)))[:2]
    mode = cv2.BORDER_REFLECT_101
    image = cv2.warpAffine(scene.stuff_image, stuff, size, flags=cv2.INTER_LINEAR, borderMode=mode)
    labels = cv2.warpAffine(
        scene.stuff_labels, stuff, size, flags=cv2.INTER_NEAREST, borderMode=mode
    )
    for thing in scene.things:
        _paint_thing(thing, to_frame @ thing.to_world(time), image, labels)
    return image, labels


def _paint_thing(
    thing: _Thing, to_frame: np.ndarray, image: np.ndarray, labels: np.ndarray
) -> None:
    """Put a thing into ``image`` and ``labels``, in place. to_frame: (3, 3), patch -> frame."""
    side = thing.patch.shape[0]
    corners = np.array([[0, side, side, 0], [0, 0, side, side], [1, 1, 1, 1]])
    reach = (to_frame @ corners)[:2]
    low = np.clip(np.floor(reach.min(axis=1)), 0, image.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(reach.max(axis=1)) + 1, 0, image.shape[1::-1]).astype(int)
    if (low >= high).any():
        return  # out of view
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    matrix = to_frame[:2].copy()
    matrix[:, 2] -= low
    width, height = (int(extent) for extent in high - low)
    patch = cv2.warpAffine(
        thing.patch, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, -9)
    )
    inside = patch[..., 3] * math.hypot(to_frame[0, 0], to_frame[1, 0])  # in the frame's pixels
    alpha = np.clip(inside + 0.5, 0, 1)[..., None]
    image[window] += alpha * (patch[..., :3] - image[window])
    labels[window][inside > 0] = thing.raw_value
    labels[window][np.abs(inside) < thing.void_border] = VOID_BORDER


@dataclass(frozen=True)
class _Band:
    """A bar or veil that crosses the view: a strip, moving at right angles to itself."""

    start: float  # frame number at which it comes in
    angle: float  # of the motion, radians
    half_width: float
    speed: float  # pixels per frame
    solid: bool
    opacity: float
    grey: float

    @classmethod
    def draw(cls, start: float, width: int, rng: np.random.Generator) -> "_Band":
        solid = bool(rng.random() < 0.25)
        return cls(
            start=start,
            angle=rng.choice((0.0, np.pi)) + rng.normal(0, 0.35),
            half_width=width * (rng.uniform(0.02, 0.05) if solid else rng.uniform(0.06, 0.14)),
            speed=width * rng.uniform(0.05, 0.11),
            solid=solid,
            opacity=1.0 if solid else rng.uniform(0.6, 0.9),
            grey=rng.uniform(70, 210),
        )

    def paint(self, time: float, image: np.ndarray, labels: np.ndarray) -> bool:
        """Put the band into both, in place. False once it has left."""
        height, width = labels.shape
        reach = math.hypot(height, width) / 2 + self.half_width
        position = self.speed * (time - self.start) - reach
        x = np.arange(width, dtype=np.float32) - (width - 1) / 2
        y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
        across = np.abs(x * math.cos(self.angle) + y * math.sin(self.angle) - position)
        softness = _SHUTTER * self.speed if self.solid else self.half_width
        alpha = self.opacity * np.clip((self.half_width - across) / softness + 0.5, 0, 1)
        image += alpha[..., None].astype(np.float32) * (self.grey - image)
        if self.solid:
            labels[across < self.half_width] = VOID_OBJECT
        return position < reach


def _light(
    image: np.ndarray, scene: _Scene, config: SyntheticConfig, time: int, rng: np.random.Generator
) -> np.ndarray:
    """Flicker (gain, gamma, tint, new in each frame) and the wandering shadow."""
    gamma = math.exp(0.10 * config.flicker * rng.standard_normal())
    gain = np.exp(config.flicker * (rng.normal(0, 0.09) + rng.normal(0, 0.03, 3)))
    image = 255 * cv2.pow(np.clip(image, 0, 255) / 255, gamma)
    height, width = image.shape[:2]
    across = (np.arange(width, dtype=np.float32) - scene.shadow(time)[0]) / scene.shadow_radius
    down = (np.arange(height, dtype=np.float32) - scene.shadow(time)[1]) / scene.shadow_radius
    shade = np.exp(-(down**2))[:, None] * np.exp(-(across**2))  # (H, W)
    dimming = 1 - min(0.4 * config.flicker, 0.9) * shade
    return image * dimming[..., None].astype(np.float32) * gain.astype(np.float32)


def _sensor_noise(config: SyntheticConfig, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32: grain per pixel, plus blotches of some 3 % and 10 % of the width."""
    size = (config.width, config.height)
    noise = rng.standard_normal((config.height, config.width, 3), dtype=np.float32)
    for pixels, strength in ((7, 0.5), (22, 0.6)):
        cells = [math.ceil(side / max(pixels * _unit(config), 1)) + 1 for side in size[::-1]]
        blotches = rng.standard_normal((*cells, 3), dtype=np.float32)
        noise += strength * cv2.resize(blotches, size, interpolation=cv2.INTER_CUBIC)
    return config.noise * noise


def render_video(
    config: SyntheticConfig, *, split: str = "train", index: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Render one video, frame by frame.

    The first frames do not depend on ``config.frames_per_video``, nor any on ``num_videos``.

    Yields:
        image: (H, W, 3) uint8, blue-green-red.
        labels: (H, W) uint8 as in the mask files: class k is k + 1; 0 and 255 are void.

    Raises:
        ValueError: an unknown split or a negative index.
    """
    if split not in SPLITS or index < 0:
        raise ValueError(
            f"render_video: expected a split of {', '.join(SPLITS)} and an index from 0 up, "
            f"got {split!r} and {index}"
        )
    scene = _draw_scene(config, split, index)
    rng = _generator(config, split, index, stream=_FRAMES)
    band_rng = _generator(config, split, index, stream=_BANDS)
    bands: list[_Band] = []
    for time in range(-12, config.frames_per_video):  # bands are under way when the video begins
        if band_rng.random() < 0.05 * config.occlusion:
            bands.append(_Band.draw(time, config.width, band_rng))
        if time < 0:
            continue
        image, labels = _expose(scene, config, time, rng)
        bands = [band for band in bands if band.paint(time, image, labels)]
        image = _light(image, scene, config, time, rng) + _sensor_noise(config, rng)
        yield np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _expose(
    scene: _Scene, config: SyntheticConfig, time: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A frame with motion blur, (H, W, 3) float32, and the raw labels of its middle instant."""
    size = (config.width, config.height)
    angle = rng.uniform(0, 2 * np.pi)
    length = config.blur * _unit(config) * rng.exponential(3.0)
    shake = length * np.array([math.cos(angle), math.sin(angle)])
    image, labels = _paint(scene, size, time, np.zeros(2))
    if config.blur == 0:
        return image, labels
    for step in range(1, _SUBFRAMES // 2 + 1):
        for moment in (-step / _SUBFRAMES, step / _SUBFRAMES):
            exposed = time + config.blur * _SHUTTER * moment
            image += _paint(scene, size, exposed, shake * moment)[0]
    return image / _SUBFRAMES, labels


# ----------------------------------------------------------------------------------------- writing


def write_synthetic_vspw(
    root: str | PathLike,
    config: SyntheticConfig | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a synthetic dataset in VSPW's layout.

    ``root`` gets ``data/<video>/origin/00000000.jpg``, ``data/<video>/mask/00000000.png`` (one
    channel; class k is k + 1, 0 and 255 are void), ``train.txt``, ``val.txt``, ``test.txt`` and,
    last, ``synthetic.json``, which holds the config and the class names. A call that is interrupted
    can be repeated and goes on; a dataset that is there already stays as it is.

    Args:
        root: folder that is absent, empty, or holds a dataset that this function wrote.
        config: what to write; by default ``SyntheticConfig()``.
        jobs: processes that render, a video at a time. The bytes do not depend on it. More than one
            starts Python anew, so a script needs ``if __name__ == "__main__":``.
        overwrite: replace a dataset that this function wrote. Other people's files never go.
        progress: show a bar.

    Returns:
        ``root`` as a path, ``~`` expanded.

    Raises:
        FileExistsError: ``root`` holds something else: another config's dataset, or files that this
            function did not write.
        ValueError: ``jobs`` is below 1.
    """
    config = config or SyntheticConfig()
    if jobs < 1:
        raise ValueError(f"write_synthetic_vspw: jobs must be at least 1, got {jobs}")
    root = Path(root).expanduser()
    if _claim(root, config, overwrite):
        logger.info("%s already holds this synthetic dataset", root)
        return root
    for split in SPLITS:
        names = [_video_id(s, i) for s, i in config.videos() if s == split]
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "data").mkdir(exist_ok=True)
    write = partial(_write_video, root, config)
    videos = config.videos()
    with tqdm(total=len(videos), desc="videos", unit="video", disable=not progress) as bar:
        if jobs == 1:
            for video in videos:
                write(video)
                bar.update()
        else:
            # Not fork: OpenCV's threads do not survive it.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(jobs, len(videos) or 1), context) as pool:
                for _ in pool.map(write, videos):
                    bar.update()
    os.replace(root / _PARTIAL, root / _COMPLETE)
    return root


def _video_id(split: str, index: int) -> str:
    return f"{split}_{index:04d}"


def _frame_files(frame: int) -> tuple[str, str]:
    return f"origin/{frame:08d}.jpg", f"mask/{frame:08d}.png"


def _write_video(root: Path, config: SyntheticConfig, video: tuple[str, int]) -> None:
    """Write a video beside its place and move it there when it is whole."""
    folder = root / "data" / _video_id(*video)
    if folder.exists():
        return
    unfinished = folder.with_name(f"{folder.name}.partial")
    for part in ("origin", "mask"):
        (unfinished / part).mkdir(parents=True, exist_ok=True)
    with _one_opencv_thread():
        frames = render_video(config, split=video[0], index=video[1])
        for number, (image, labels) in enumerate(frames):
            image_file, mask_file = _frame_files(number)
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            (unfinished / image_file).write_bytes(cv2.imencode(".jpg", image, quality)[1].data)
            (unfinished / mask_file).write_bytes(cv2.imencode(".png", labels)[1].data)
    unfinished.rename(folder)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _description(config: SyntheticConfig) -> dict[str, Any]:
    description = {
        "written_by": _AUTHOR,
        "version": _RENDERER_VERSION,
        "config": {**vars(config), "num_videos": {s: config.num_videos.get(s, 0) for s in SPLITS}},
        "classes": list(SYNTHETIC_CLASSES[: config.num_classes]),
    }
    return json.loads(json.dumps(description))


def _claim(root: Path, config: SyntheticConfig, overwrite: bool) -> bool:
    """Make ``root`` ours to write in. True if it holds the dataset already."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; choose a folder for the synthetic dataset.")
    root.mkdir(parents=True, exist_ok=True)
    wanted, found = _description(config), _read_description(root)
    if found is None and any(path.name != _SCRATCH for path in root.iterdir()):
        raise FileExistsError(
            f"{root} holds files that are not a synthetic dataset. Nothing was changed. Choose an "
            "empty or a new folder."
        )
    if found is not None and found != wanted and not overwrite:
        raise FileExistsError(
            f"{root} holds a synthetic dataset of another config ({_differences(found, wanted)}). "
            "Choose another folder, or replace that dataset with overwrite=True (--overwrite)."
        )
    if found is not None and overwrite:
        _remove_dataset(root, found)
    elif found is not None and (root / _COMPLETE).exists():
        return True
    (root / _SCRATCH).write_text(json.dumps(wanted, indent=2) + "\n")
    os.replace(root / _SCRATCH, root / _PARTIAL)
    return False


def _read_description(root: Path) -> dict[str, Any] | None:
    """What was written into ``root``, completely or not; None if nothing of ours was."""
    for name in (_COMPLETE, _PARTIAL):
        try:
            description = json.loads((root / name).read_text())
        except (FileNotFoundError, ValueError):
            continue
        if isinstance(description, dict) and description.get("written_by") == _AUTHOR:
            return description
    return None


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    theirs, ours = ({"version": d["version"], **d["config"]} for d in (found, wanted))
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{n} {theirs.get(n)} instead of {ours.get(n)}" for n in names)


def _remove_dataset(root: Path, description: dict[str, Any]) -> None:
    """Remove the files that ``description`` says were written, if there are no others."""
    written = {root / name for name in (_COMPLETE, _PARTIAL, _SCRATCH)}
    written |= {root / f"{split}.txt" for split in SPLITS}
    folders = [root / "data"]
    for split, count in description["config"]["num_videos"].items():
        for index in range(count):
            for suffix in ("", ".partial"):
                video = root / "data" / f"{_video_id(split, index)}{suffix}"
                folders += [video, video / "origin", video / "mask"]
                for frame in range(description["config"]["frames_per_video"]):
                    written |= {video / name for name in _frame_files(frame)}
    present = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    strange = sorted(str(path) for path in present if path not in written)
    if strange:
        raise FileExistsError(
            f"{root} can't be replaced: it also holds {len(strange)} files that were not written "
            f"with it, such as {strange[0]}. Nothing was changed. Move them away, then try again."
        )
    if (root / _COMPLETE).exists():  # from here on it is unfinished, whatever happens
        os.replace(root / _COMPLETE, root / _PARTIAL)
    for path in present:
        if path.name != _PARTIAL:
            path.unlink(missing_ok=True)
    for folder in reversed(folders):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
