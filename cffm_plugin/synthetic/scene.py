"""A synthetic scene: stuff and things on a plane, their paths, and the camera's."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ..libraries import OptionalLibrary
from .config import SPLITS, SyntheticConfig
from .textures import PATTERNS, SHAPES, STYLES, Style, draw_texture, smooth_noise

cv2 = OptionalLibrary("cv2", "Rendering videos")

VOID_OBJECT = 0  # raw mask value of things that are no class, and of solid bars
VOID_BORDER = 255  # raw mask value of the outlines that an annotator would leave out
_SCENE, FRAMES, BANDS, _DECK = range(4)  # random streams of a video; _DECK, of a split


def length_unit(config: SyntheticConfig) -> float:
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
    def draw(cls, center: np.ndarray, radius: float, speed: float, rng: Generator) -> "_Orbit":
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
    def draw(cls, mean: float, amplitude: float, motion: float, rng: Generator) -> "_Swing":
        period = rng.uniform(60, 140)
        return cls(mean, amplitude, motion * 2 * np.pi / period, rng.uniform(0, 2 * np.pi))


def similarity(scale: float, angle: float, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3) map that scales and turns around ``source`` and puts it at ``target``."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    matrix[:2, 2] = target - matrix[:2, :2] @ source
    return matrix


@dataclass(frozen=True)
class _Camera:
    """World -> frame. The world's origin is where the camera looks on average."""

    path: _Orbit
    zoom: _Swing
    roll: _Swing
    center: np.ndarray  # of the frame, pixels

    def __call__(self, time: float, shake: np.ndarray) -> np.ndarray:
        return similarity(self.zoom(time), self.roll(time), self.path(time), self.center + shake)


@dataclass(frozen=True, eq=False)
class Thing:
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
        return similarity(self.scale(time), turn, middle, self.path(time))


@dataclass(frozen=True, eq=False)
class Scene:
    stuff_image: np.ndarray  # (h, w, 3) float32
    stuff_labels: np.ndarray  # (h, w) uint8 raw values
    things: list[Thing]  # the farthest first
    camera: _Camera
    shadow: _Orbit  # in frame coordinates
    shadow_radius: float


def draw_scene(config: SyntheticConfig, split: str, index: int) -> Scene:
    rng = random_stream(config, split, index, stream=_SCENE)
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
    return Scene(
        stuff_image=image,
        stuff_labels=labels,
        things=[_draw_thing(config, k, rng) for k in things],
        camera=camera,
        shadow=_Orbit.draw(size / 2, config.width * 0.4, 0.02 * config.width, rng),
        shadow_radius=config.width * rng.uniform(0.15, 0.35),
    )


def random_stream(config: SyntheticConfig, split: str, index: int, stream: int) -> Generator:
    key = (SPLITS.index(split), index, stream)
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))


def _choose_classes(
    config: SyntheticConfig, split: str, index: int, rng: Generator
) -> tuple[list[int], list[int | None]]:
    """Classes of a video's stuff and things; None is a void thing.

    Two kinds of stuff and four things are dealt from a shuffled deck, round and round through a
    split's videos, so that every class comes up if there are enough videos. Others are chance.
    """

    def deal(deck: list[int], hand: int, extra: int) -> list[int]:
        order = random_stream(config, split, 0, stream=_DECK).permutation(deck)
        dealt = [int(order[(index * hand + i) % len(deck)]) for i in range(hand)]
        return dealt + [int(k) for k in rng.choice(deck, extra)]

    classes = range(config.num_classes)
    stuff = deal([k for k in classes if STYLES[k].is_stuff], 2, int(rng.integers(0, 3)))
    dealt = deal([k for k in classes if not STYLES[k].is_stuff], 4, int(rng.integers(1, 5)))
    things: list[int | None] = [*dealt, *([None] if rng.random() < 0.35 else [])]
    order = rng.permutation(len(things))
    return sorted(set(stuff)), [things[i] for i in order]


def _draw_stuff(
    config: SyntheticConfig, classes: list[int], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The plane behind the things: image (h, w, 3) float32 and raw labels (h, w) uint8.

    The regions are the cells of some scattered points, with the plane bent to curve the borders.
    """
    view = np.array([config.width, config.height])
    width, height = np.ceil(view * 1.25 + 0.45 * config.width).astype(int)
    points = _scattered_points(len(classes) + int(rng.integers(0, 3)), rng) * view * 0.42
    points = points[np.argsort(points[:, 1])]
    wishes = np.array([STYLES[k].altitude for k in classes]) + rng.normal(0, 0.25, len(classes))
    from_top = np.array(classes)[np.argsort(-wishes)]
    owners = from_top[np.arange(len(points)) * len(classes) // len(points)]

    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    length = np.float32(0.22 * config.width)
    bend = 0.07 * config.width
    bent_x = x + bend * smooth_noise(x / length, y / length, rng)
    bent_y = y + bend * smooth_noise(x / length, y / length, rng)
    distances = np.stack([(bent_x - px) ** 2 + (bent_y - py) ** 2 for px, py in points])
    owner = owners[distances.argmin(axis=0)]  # (h, w) class indices

    image = np.empty((height, width, 3), np.float32)
    for k in classes:
        inside = owner == k
        image[inside] = draw_texture(STYLES[k], height, width, length_unit(config), rng)[inside]
    return image, (owner + 1).astype(np.uint8)


def _scattered_points(count: int, rng: Generator) -> np.ndarray:
    """(count, 2) points in -1..1 that keep apart: each is the best of some candidates."""
    points = rng.uniform(-1, 1, (1, 2))
    for _ in range(count - 1):
        candidates = rng.uniform(-1, 1, (12, 2))
        gaps = np.linalg.norm(candidates[:, None] - points[None], axis=2).min(axis=1)
        points = np.concatenate([points, candidates[[gaps.argmax()]]])
    return points


def _draw_thing(config: SyntheticConfig, k: int | None, rng: Generator) -> Thing:
    """One object of class ``k``, or of none if ``k`` is None."""
    style = _void_style(rng) if k is None else STYLES[k]
    radius = max(config.width * rng.uniform(0.085, 0.185), 2.0)
    side = 2 * math.ceil(radius) + 7
    outline = SHAPES[style.shape](rng) * radius + (side - 1) / 2
    inside = np.zeros((side, side), np.uint8)
    cv2.fillPoly(inside, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance -= cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    distance -= np.sign(distance) * np.float32(0.5)  # to the outline, not the next pixel's centre
    texture = draw_texture(style, side, side, length_unit(config), rng)
    home = rng.uniform(-0.38, 0.38, 2) * (config.width, config.height)
    speed = config.motion * config.width * rng.uniform(0.003, 0.015)
    return Thing(
        patch=np.dstack([texture, distance]),
        raw_value=VOID_OBJECT if k is None else k + 1,
        void_border=max(0.9 * length_unit(config), 0.7) if rng.random() < 0.4 else 0.0,
        path=_Orbit.draw(home, config.width * rng.uniform(0.12, 0.3), speed, rng),
        scale=_Swing.draw(1.0, 0.15, config.motion, rng),
        spin=config.motion * math.radians(rng.normal(0, 1.5)),
        heading=rng.uniform(0, 2 * np.pi),
    )


def _void_style(rng: Generator) -> Style:
    """Something that is no class: any colour, pattern and shape."""
    red, green, blue = (float(c) for c in rng.uniform(90, 170, 3))
    return replace(
        STYLES[1],
        color=(red, green, blue),
        pattern=str(rng.choice(sorted(PATTERNS))),
        wavelength=rng.uniform(6, 20),
        shape=str(rng.choice(sorted(SHAPES))),
    )
