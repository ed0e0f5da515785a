"""A dataset in VSPW's layout, small enough to write in every test that needs one."""

from pathlib import Path

import numpy as np
from PIL import Image

TINY_COLORS = ((40, 60, 200), (220, 50, 40), (60, 190, 70), (230, 200, 40))  # RGB of the classes


def _write_frame(root: Path, video_id: str, index: int, size: tuple[int, int]) -> None:
    """Two stuff classes, two boxes that move, a void rim; each class has its own colour, noisy."""
    height, width = size
    labels = np.zeros(size, dtype=np.uint8)
    labels[height // 2 :] = 1
    for k, (top, speed) in enumerate([(0.15, 2), (0.55, -3)], start=2):
        left = (k * width // 4 + speed * index) % (width - width // 4)
        box = slice(int(top * height), int((top + 0.3) * height)), slice(left, left + width // 4)
        labels[box] = k
    raw = labels + 1
    raw[:, :2] = 0
    noise = np.random.default_rng([index, *video_id.encode()]).normal(0, 6, (*size, 3))
    frame = np.clip(np.array(TINY_COLORS)[labels] + noise, 0, 255).astype(np.uint8)
    folder = root / "data" / video_id
    Image.fromarray(frame).save(folder / "origin" / f"{index:08d}.jpg", quality=95)
    Image.fromarray(raw).save(folder / "mask" / f"{index:08d}.png")


def write_vspw_tree(
    root: Path, videos: dict[str, dict[str, int]], size: tuple[int, int] = (48, 64)
) -> Path:
    """Write a dataset in VSPW's layout with four classes: split -> video -> number of frames."""
    for split, lengths in videos.items():
        for video_id, num_frames in lengths.items():
            if (root / "data" / video_id).exists():
                continue  # a video may stand in several splits
            for folder in ("origin", "mask"):
                (root / "data" / video_id / folder).mkdir(parents=True)
            for index in range(num_frames):
                _write_frame(root, video_id, index, size)
        (root / f"{split}.txt").write_text("\n".join(lengths))
    return root
