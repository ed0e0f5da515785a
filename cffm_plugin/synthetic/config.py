"""What decides the bytes of a synthetic dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..constants import (
    SPLITS,
    SYNTHETIC_CLASSES,
    SYNTHETIC_FRAMES,
    SYNTHETIC_SIZE,
    SYNTHETIC_VIDEOS,
)

MAX_CLASSES = 124


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

    height: int = SYNTHETIC_SIZE[0]
    width: int = SYNTHETIC_SIZE[1]
    frames_per_video: int = SYNTHETIC_FRAMES
    num_videos: Mapping[str, int] = field(
        default_factory=lambda: dict(SYNTHETIC_VIDEOS), hash=False
    )
    num_classes: int = SYNTHETIC_CLASSES
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
