"""From a scene to noisy exposures and exact labels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..libraries import OptionalLibrary
from .config import SPLITS, SyntheticConfig
from .scene import (
    BANDS,
    FRAMES,
    VOID_BORDER,
    VOID_OBJECT,
    Scene,
    Thing,
    draw_scene,
    length_unit,
    random_stream,
    similarity,
)

cv2 = OptionalLibrary("cv2", "Rendering videos")

_SUBFRAMES = 5  # renderings averaged for one exposure; odd, so that one is the middle
_SHUTTER = 0.6  # the exposure, as a fraction of the time between two frames


def _paint(
    scene: Scene, size: tuple[int, int], time: float, shake: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sharp scene, (H, W, 3) float32, and its raw labels, (H, W) uint8. size: (W, H)."""
    to_frame = scene.camera(time, shake)
    height, width = scene.stuff_labels.shape
    middle = np.array([width - 1, height - 1]) / 2
    stuff = (to_frame @ similarity(1.0, 0.0, middle, np.zeros(2)))[:2]
    mode = cv2.BORDER_REFLECT_101
    image = cv2.warpAffine(scene.stuff_image, stuff, size, flags=cv2.INTER_LINEAR, borderMode=mode)
    labels = cv2.warpAffine(
        scene.stuff_labels, stuff, size, flags=cv2.INTER_NEAREST, borderMode=mode
    )
    for thing in scene.things:
        _paint_thing(thing, to_frame @ thing.to_world(time), image, labels)
    return image, labels


def _paint_thing(thing: Thing, to_frame: np.ndarray, image: np.ndarray, labels: np.ndarray) -> None:
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
    def draw(cls, start: float, width: int, rng: Generator) -> "_Band":
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
    image: np.ndarray, scene: Scene, config: SyntheticConfig, time: int, rng: Generator
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


def _sensor_noise(config: SyntheticConfig, rng: Generator) -> np.ndarray:
    """(H, W, 3) float32: grain per pixel, plus blotches of some 3 % and 10 % of the width."""
    size = (config.width, config.height)
    noise = rng.standard_normal((config.height, config.width, 3), dtype=np.float32)
    for pixels, strength in ((7, 0.5), (22, 0.6)):
        cells = [math.ceil(side / max(pixels * length_unit(config), 1)) + 1 for side in size[::-1]]
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
    scene = draw_scene(config, split, index)
    rng = random_stream(config, split, index, stream=FRAMES)
    band_rng = random_stream(config, split, index, stream=BANDS)
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
    scene: Scene, config: SyntheticConfig, time: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A frame with motion blur, (H, W, 3) float32, and the raw labels of its middle instant."""
    size = (config.width, config.height)
    angle = rng.uniform(0, 2 * np.pi)
    length = config.blur * length_unit(config) * rng.exponential(3.0)
    shake = length * np.array([math.cos(angle), math.sin(angle)])
    image, labels = _paint(scene, size, time, np.zeros(2))
    if config.blur == 0:
        return image, labels
    for step in range(1, _SUBFRAMES // 2 + 1):
        for moment in (-step / _SUBFRAMES, step / _SUBFRAMES):
            exposed = time + config.blur * _SHUTTER * moment
            image += _paint(scene, size, exposed, shake * moment)[0]
    return image / _SUBFRAMES, labels
