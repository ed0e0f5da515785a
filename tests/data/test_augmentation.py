"""Augmentations: every rule of the training and test recipe."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T

from cffm_plugin.data import color_distortion
from cffm_plugin.data.augmentation import (
    OpenCVResize,
    PadToSize,
    ResizeToFit,
    ResizeToMultiple,
    inference_augmentations,
    training_augmentations,
)
from cffm_plugin.data.color_distortion import ColorDistortion

GOLDEN = Path(__file__).parents[1] / "golden" / "test_resize.json"
MEAN = (103.53, 116.28, 123.675)


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)


def coordinates(height, width):
    """An image whose pixels say where they are: (x, y, 0), and labels in 8x8 blocks."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    return image, ((x // 8 + y // 8) % 5).astype(np.uint8)


def augment(augmentations, image, labels):
    """Image and labels after the augmentations, and the transforms."""
    target = T.AugInput(image, sem_seg=labels)
    transforms = T.AugmentationList(augmentations)(target)
    return target.image, target.sem_seg, transforms


def size_after(augmentation, height, width):
    transform = augmentation.get_transform(np.zeros((height, width, 3), np.uint8))
    return transform.apply_image(np.zeros((height, width, 3), np.uint8)).shape[:2]


# Resizing


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda c: str(c["width"]))
def test_test_sizes_are_the_official_ones(case):
    rescaled = size_after(ResizeToFit((853, 480)), case["height"], case["width"])
    assert rescaled == tuple(case["rescaled"][::-1])
    assert size_after(ResizeToMultiple(32), *rescaled) == tuple(case["network_input"][::-1])


@pytest.mark.parametrize(
    ("ratio", "height", "width", "expected"),
    [
        # The limits are int(853 r) and int(480 r).
        (0.5, 480, 853, (240, 426)),  # scale min(426/853, 240/480) = 0.4994: 239.7, 426 rounded
        (2.0, 480, 853, (960, 1706)),  # scale 2
        (2.0, 853, 480, (1706, 960)),  # portrait: the long side is the height
        (1.5, 480, 480, (720, 720)),  # limits 1279, 720: scale 720/480
    ],
)
def test_the_ratio_scales_the_limits(ratio, height, width, expected):
    assert size_after(ResizeToFit((853, 480), (ratio, ratio)), height, width) == expected


def test_the_ratio_is_uniform():
    resize = ResizeToFit((200, 100), (0.5, 2.0))
    widths = np.array([size_after(resize, 100, 200)[1] for _ in range(1000)])
    # Widths are floor(200 r) with r uniform in 0.5..2: thirds of the range are equally likely.
    counts = np.histogram(widths, bins=(100, 200, 300, 401))[0]
    assert widths.min() < 103 and widths.max() > 396
    assert all(abs(count - 333) < 5 * 15 for count in counts)  # standard deviation 15


def test_aspect_is_kept_but_for_rounding():
    resize = ResizeToFit((853, 480), (0.5, 2.0))
    for _ in range(50):
        height, width = size_after(resize, 480, 640)
        assert abs(width - height * 640 / 480) <= 1


def test_images_are_resized_as_opencv_does_without_antialiasing():
    image = np.random.randint(0, 256, (64, 64, 3), dtype=np.uint8)
    resized = OpenCVResize(64, 64, 16, 16).apply_image(image)
    # At a scale of 1/4 the sample point is in the middle of 4 of the 16 pixels of a cell.
    middle = image.reshape(16, 4, 16, 4, 3)[:, 1:3, :, 1:3].astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(resized, middle, atol=1)
    assert resized.dtype == np.uint8


def test_labels_are_those_of_the_nearest_pixel_and_never_new_values():
    labels = np.random.choice(np.array([0, 7, 123, 255], np.uint8), (37, 53))
    for size in [(18, 26), (37, 106), (111, 20), (5, 200)]:
        resized = OpenCVResize(37, 53, *size).apply_segmentation(labels)
        assert resized.shape == size
        assert set(np.unique(resized)) <= {0, 7, 123, 255}
    doubled = OpenCVResize(37, 53, 74, 106).apply_segmentation(labels)
    np.testing.assert_array_equal(doubled, labels.repeat(2, axis=0).repeat(2, axis=1))


def test_a_resize_makes_its_size_of_any_frame_and_its_inverse_restores_the_size():
    resize = OpenCVResize(20, 30, 40, 60)
    assert resize.apply_image(np.zeros((33, 21, 3), np.uint8)).shape == (40, 60, 3)
    assert resize.inverse().apply_image(np.zeros((40, 60, 3), np.uint8)).shape == (20, 30, 3)


def test_inference_resizes_the_first_results_uint8_and_draws_nothing():
    image = np.random.randint(0, 256, (48, 85, 3), dtype=np.uint8)
    before = np.random.get_state()[1].copy(), random.getstate()
    out, _, _ = augment(inference_augmentations(fit_size=(60, 40), divisor=16), image, None)
    # Fit: scale min(60/85, 40/48) = 0.70588, so 34 x 60; then up to 48 x 64.
    np.testing.assert_array_equal(out, cv2.resize(cv2.resize(image, (60, 34)), (64, 48)))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


# One geometry for a clip


@pytest.mark.parametrize("seed", range(8))
def test_all_frames_of_a_clip_and_their_labels_share_the_geometry(seed):
    np.random.seed(seed)
    image, labels = coordinates(60, 90)
    augmentations = training_augmentations(
        fit_size=(90, 60), crop_size=(64, 64), color=False, pixel_mean=MEAN
    )
    out, out_labels, transforms = augment(augmentations, image, labels)
    np.testing.assert_array_equal(transforms.apply_image(image), out)
    np.testing.assert_array_equal(transforms.apply_segmentation(labels), out_labels)
    assert out.shape == (64, 64, 3) and out_labels.shape == (64, 64)
    inside = out_labels != 255
    x, y = out[..., 0][inside].astype(int), out[..., 1][inside].astype(int)
    # The image says where a pixel came from; away from block borders its label must be that one.
    clear = (x % 8 > 1) & (x % 8 < 6) & (y % 8 > 1) & (y % 8 < 6)
    assert clear.sum() > 100
    np.testing.assert_array_equal(out_labels[inside][clear], ((x // 8 + y // 8) % 5)[clear])


@pytest.mark.parametrize(("flip", "expected"), [("horizontal", 200), ("none", 0)])
def test_clips_are_flipped_half_of_the_time_or_never_when_told_so(flip, expected):
    image, labels = coordinates(20, 40)
    augmentations = training_augmentations(
        fit_size=(40, 20), ratio_range=(1.0, 1.0), crop_size=None, color=False, flip=flip
    )
    flipped = 0
    for _ in range(400):
        out, _, _ = augment(augmentations, image, labels)
        mirrored = out[0, 0, 0] > out[0, -1, 0]
        np.testing.assert_array_equal(out, image[:, ::-1] if mirrored else image)
        flipped += mirrored
    assert abs(flipped - expected) <= (5 * 10 if expected else 0)  # standard deviation 10


# Crops


def crop_augmentations(size):
    return training_augmentations(
        fit_size=(80, 40), ratio_range=(1.0, 1.0), crop_size=size, flip="none", color=False
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_class_dominates_a_crop_where_that_can_be_avoided(seed):
    np.random.seed(seed)
    # Class 0 is left of column 40, class 1 right of it; void lies over both. Of a crop 40 wide that
    # starts at column s, 40 - s columns are class 0: less than 30 and more than 10 of them for s in
    # 11..29, which is 19 of 41 starts. Ten draws all miss those once in 500 times.
    labels = np.zeros((40, 80), np.uint8)
    labels[:, 40:] = 1
    labels[::4] = 255
    _, out, _ = augment(crop_augmentations((40, 40)), np.zeros((40, 80, 3), np.uint8), labels)
    counts = np.bincount(out[out != 255])
    assert (counts > 0).sum() == 2
    assert counts.max() < 0.75 * counts.sum()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.zeros((40, 80), np.uint8), 10),
        (np.full((40, 80), 255, np.uint8), 10),
        (np.indices((40, 80)).sum(axis=0).astype(np.uint8) % 4, 1),
    ],
    ids=["one_class", "all_void", "a_good_crop"],
)
def test_a_crop_is_drawn_until_it_is_good_and_at_most_ten_times(monkeypatch, labels, expected):
    draws = []  # a crop takes two integers
    randint = np.random.randint
    monkeypatch.setattr(np.random, "randint", lambda *a: draws.append(randint(*a)) or draws[-1])
    out, _, _ = augment(crop_augmentations((20, 20)), coordinates(40, 80)[0], labels)
    assert len(draws) == 2 * expected
    assert tuple(out[0, 0, :2]) == (draws[-1], draws[-2])  # the last draw is kept as it is


def test_an_image_smaller_than_the_crop_is_kept_whole_and_padded():
    image, labels = coordinates(40, 80)
    image[..., 2] = 9
    out, out_labels, _ = augment(crop_augmentations((64, 64)), image, labels)
    assert out.shape == (64, 64, 3) and out_labels.shape == (64, 64)
    left = int(out[0, 0, 0])
    np.testing.assert_array_equal(out[:40], image[:, left : left + 64])
    np.testing.assert_array_equal(out_labels[:40], labels[:, left : left + 64])
    assert (out_labels[40:] == 255).all()


# Colours


def test_every_frame_gets_its_own_colours():
    image = np.random.randint(0, 256, (48, 64, 3), dtype=np.uint8)
    augmentations = training_augmentations(
        fit_size=(64, 48), ratio_range=(1.0, 1.0), crop_size=None, flip="none"
    )
    target, _, transforms = augment(augmentations, image, np.zeros((48, 64), np.uint8))
    frames = [target, *(transforms.apply_image(image) for _ in range(19))]
    # With 1/16 a frame is left as it is, so a few may be equal; never most of them.
    assert len({frame.tobytes() for frame in frames}) >= 15
    assert all(frame.dtype == np.uint8 for frame in frames)


def test_the_strengths_are_the_papers():
    distortion = ColorDistortion("BGR")
    assert distortion.brightness_delta == 32
    assert (distortion.contrast_low, distortion.contrast_high) == (0.5, 1.5)
    assert (distortion.saturation_low, distortion.saturation_high) == (0.5, 1.5)
    assert distortion.hue_delta == 18


def pure_hue(hue):
    return cv2.cvtColor(np.array([[[hue, 255, 255]]], np.uint8), cv2.COLOR_HSV2BGR)


def test_hue_shifts_are_the_integers_from_minus_18_to_17_half_of_the_time():
    distortion = ColorDistortion("BGR")
    shifts = []
    for _ in range(3000):
        shifted = cv2.cvtColor(distortion.hue(pure_hue(90)), cv2.COLOR_BGR2HSV)
        shifts.append(int(shifted[0, 0, 0]) - 90)
    assert set(shifts) == set(range(-18, 18))
    # No shift: 1/2 + 1/2 * 1/36 of the time.
    assert abs(shifts.count(0) - 3000 * (1 / 2 + 1 / 72)) < 5 * 27.4  # standard deviation 27.4


@pytest.mark.parametrize(("hue", "shift", "expected"), [(5, -18, 167), (170, 17, 7)])
def test_hue_wraps_at_180(monkeypatch, hue, shift, expected):
    monkeypatch.setattr(color_distortion.random, "randrange", lambda n: 1)
    monkeypatch.setattr(color_distortion.random, "randint", lambda low, high: shift)
    np.testing.assert_array_equal(ColorDistortion("BGR").hue(pure_hue(hue)), pure_hue(expected))


# Padding


def normalized(image):
    """What the model does first, with float32 buffers."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor([58.0, 57.12, 57.375]).view(3, 1, 1)
    return (torch.from_numpy(image).permute(2, 0, 1) - mean) / std


def test_padding_is_void_and_exactly_zero_after_normalisation():
    image = np.random.randint(0, 256, (20, 25, 3), dtype=np.uint8)
    labels = np.ones((20, 25), np.uint8)
    out, out_labels, _ = augment([PadToSize((32, 40), MEAN)], image, labels)
    padded, unpadded = normalized(out), normalized(image)
    assert padded.shape == (3, 32, 40)
    assert (padded[:, 20:] == 0).all() and (padded[:, :, 25:] == 0).all()
    assert torch.equal(padded[:, :20, :25], unpadded)
    assert out_labels.dtype == np.uint8 and out_labels.shape == (32, 40)
    assert (out_labels[:20, :25] == 1).all()
    assert (out_labels[20:] == 255).all() and (out_labels[:, 25:] == 255).all()


def test_padding_stays_zero_when_colours_are_distorted():
    image = np.random.randint(0, 256, (24, 32, 3), dtype=np.uint8)
    augmentations = training_augmentations(
        fit_size=(32, 24), ratio_range=(1.0, 1.0), crop_size=(40, 40), pixel_mean=MEAN
    )
    for _ in range(10):
        out, _, transforms = augment(augmentations, image, np.zeros((24, 32), np.uint8))
        for frame in (out, transforms.apply_image(image)):
            assert (normalized(frame)[:, 24:] == 0).all()


@pytest.mark.parametrize(
    ("size", "mean", "dtype"),
    [
        ((20, 25), MEAN, np.uint8),  # nothing to pad
        ((10, 10), MEAN, np.uint8),  # larger than the size: left as it is
        ((20, 26), MEAN, np.float32),
        ((20, 26), (104.0, 117.0, 123.0), np.uint8),
        ((20, 26), (0, 0, 0), np.uint8),
        ((20, 26), (-1.0, 0.0, 0.0), np.float32),
    ],
)
def test_images_stay_uint8_unless_uint8_cannot_hold_the_mean(size, mean, dtype):
    out, _, _ = augment([PadToSize(size, mean)], np.ones((20, 25, 3), np.uint8), None)
    assert out.dtype == dtype
    assert out.shape[1] == max(25, size[1])
    assert (out[:, 25:] == np.float32(mean)).all()


# Arguments


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="long side, short side"):
        ResizeToFit((480, 853))
    with pytest.raises(ValueError, match="low <= high"):
        ResizeToFit((853, 480), (2.0, 0.5))
    with pytest.raises(ValueError, match="divisor"):
        ResizeToMultiple(0)
    with pytest.raises(ValueError, match="diagonal"):
        training_augmentations(flip="diagonal")
