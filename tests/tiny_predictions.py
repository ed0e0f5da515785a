"""Datasets and predictions of which a test says every pixel."""

import numpy as np
from PIL import Image


def write_masks(root, videos, split="val", frames=None):
    """A dataset in VSPW's layout: video -> classes (L, H, W) with 255 for void, or a list with None
    for frames without a mask. ``frames``: video -> pictures (L, H, W) or (L, H, W, 3), or grey."""
    for video, masks in videos.items():
        size = next(mask.shape for mask in masks if mask is not None)
        for folder in ("origin", "mask"):
            (root / "data" / video / folder).mkdir(parents=True)
        for i, mask in enumerate(masks):
            picture = np.full(size, 90, np.uint8) if frames is None else frames[video][i]
            Image.fromarray(picture).save(root / "data" / video / "origin" / f"{i:08d}.png")
            if mask is not None:
                raw = np.where(mask == 255, 0, mask + 1).astype(np.uint8)
                Image.fromarray(raw).save(root / "data" / video / "mask" / f"{i:08d}.png")
    (root / f"{split}.txt").write_text("\n".join(videos), encoding="utf-8")
    return root


def write_labels(folder, videos):
    """Predictions: video -> classes (L, H, W)."""
    for video, predictions in videos.items():
        (folder / video).mkdir(parents=True)
        for i, prediction in enumerate(predictions):
            Image.fromarray(prediction.astype(np.uint8)).save(folder / video / f"{i:08d}.png")
    return folder


def noisy(masks, share, num_classes, seed):
    """Predictions like the truth, but drawn anew in a share of the pixels."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, num_classes, masks.shape)
    anew = (rng.random(masks.shape) < share) | (masks == 255)
    return np.where(anew, drawn, masks).astype(np.uint8)


def moving_boxes(num_frames, size=(24, 32), seed=0):
    """(L, H, W) classes 0 to 3: two halves, two boxes that move, and a void rim."""
    height, width = size
    masks = np.zeros((num_frames, *size), np.uint8)
    masks[:, height // 2 :] = 1
    for i in range(num_frames):
        for k, top in ((2, 3), (3, height // 2 + 2)):
            left = (5 * k + (i + seed) * (k - 1)) % (width - 8)
            masks[i, top : top + 7, left : left + 8] = k
    masks[:, :, 0] = 255
    return masks
