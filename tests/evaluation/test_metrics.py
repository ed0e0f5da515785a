"""Confusion-matrix metrics and video consistency, checked by hand and against golden/."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from cffm_plugin.data.images import LabelMapping
from cffm_plugin.evaluation import metrics
from cffm_plugin.evaluation.metrics import (
    VideoConsistency,
    VideoWindows,
    confusion_matrix,
    official_window_scores,
    pooled_mean,
    segmentation_scores,
)

GOLDEN = Path(__file__).parents[1] / "golden"
VOID = 255


@pytest.fixture(scope="module")
def golden():
    """What the official scripts print, and the (truth, prediction) videos, void mapped to 255."""
    expected = json.loads((GOLDEN / "metrics.json").read_text())
    to_classes = LabelMapping.shifted_by_one(expected["num_classes"])
    with np.load(GOLDEN / "metrics.npz") as arrays:
        videos = [
            (to_classes(arrays[f"label{i}"]), arrays[f"pred{i}"])
            for i in range(len(expected["lengths"]))
        ]
    return expected, videos


def row(*labels):
    """An image of one row."""
    return np.array([labels], dtype=np.uint8)


def score_windows(truth, prediction, window_sizes=(8, 16)):
    consistency = VideoConsistency(window_sizes)
    for true_frame, predicted_frame in zip(truth, prediction):
        consistency.update(true_frame, predicted_frame)
    return consistency.windows()


def brute_force_windows(truth, prediction, n):
    """Every window's consistency as section 8 of the specification words it; None if skipped."""
    scores = []
    for i in range(len(truth) - n + 1):
        true_is_same = (truth[i : i + n] == truth[i]).all(axis=0)
        predicted_is_same = (prediction[i : i + n] == prediction[i]).all(axis=0)
        pixels = true_is_same.sum()
        scores.append((true_is_same & predicted_is_same).sum() / pixels if pixels else None)
    return scores


def brute_force_strict_windows(truth, prediction, n):
    """Every window's strict VC and temporal accuracy, from their definition; None if skipped."""
    consistencies, accuracies = [], []
    for i in range(len(truth) - n + 1):
        true, predicted = truth[i : i + n], prediction[i : i + n]
        counted = (true == true[0]).all(axis=0) & (true[0] != VOID)
        pixels = counted.sum()
        same = (predicted == predicted[0]).all(axis=0)
        right = (predicted == true).all(axis=0)
        consistencies.append((counted & same).sum() / pixels if pixels else None)
        accuracies.append((counted & right).sum() / pixels if pixels else None)
    return consistencies, accuracies


def none_for_nan(scores):
    return [None if math.isnan(score) else score for score in scores]


def random_video(seed, num_frames, change_rate=0.05, size=(6, 7)):
    """Labels 0..3 and void, of which a share changes from each frame to the next."""
    rng = np.random.RandomState(seed)
    frames = [rng.choice([0, 1, 2, 3, VOID], size)]
    for _ in range(num_frames - 1):
        fresh = rng.choice([0, 1, 2, 3, VOID], size)
        frames.append(np.where(rng.rand(*size) < change_rate, fresh, frames[-1]))
    return np.array(frames, dtype=np.uint8)


@pytest.mark.parametrize("scope, shortest", [("all_videos", 0), ("videos_longer_than_16", 17)])
def test_segmentation_scores_equal_the_official_ones(golden, scope, shortest):
    expected, videos = golden
    confusion = sum(
        confusion_matrix(truth, prediction, expected["num_classes"])
        for truth, prediction in videos
        if len(truth) >= shortest
    )
    scores = segmentation_scores(confusion)
    got = {
        "pixel_acc": scores.pacc,
        "class_acc": scores.macc,
        "mIoU": scores.miou,
        "fwIoU": scores.fwiou,
    }
    assert got == pytest.approx(expected[scope], rel=0, abs=1e-9)


@pytest.mark.parametrize("n", [8, 16])
def test_video_consistency_equals_the_official_one(golden, n):
    expected, videos = golden
    windows = {
        str(i): official_window_scores(score_windows(truth, prediction), n)
        for i, (truth, prediction) in enumerate(videos)
    }
    assert pooled_mean(windows) == pytest.approx(expected[f"mVC{n}"], rel=0, abs=1e-9)
    for i, per_video in enumerate(expected["per_video"]):
        value = math.nan if per_video is None else per_video[str(n)]
        got = pooled_mean({"": windows[str(i)]})
        assert got == pytest.approx(value, rel=0, abs=1e-9, nan_ok=True)


def test_segmentation_scores_by_hand():
    # Class 0: 3 pixels, 2 hit, never predicted elsewhere: IoU 2/3, accuracy 2/3.
    # Class 1: 1 pixel, hit, predicted once too often:     IoU 1/2, accuracy 1.
    confusion = confusion_matrix(row(0, 0, 0, 1), row(0, 0, 1, 1), num_classes=2)
    assert confusion.tolist() == [[2, 1, 0], [0, 1, 0]]
    assert confusion.dtype == np.int64
    scores = segmentation_scores(confusion)
    assert scores.miou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.fwiou == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 * 1 / 2)
    assert scores.macc == pytest.approx((2 / 3 + 1) / 2)
    assert scores.pacc == pytest.approx(3 / 4)
    assert scores.class_pixels.tolist() == [3, 1]


@pytest.mark.parametrize("wrong_class", [2, 7, 255])
def test_predicting_a_class_absent_from_the_truth_is_a_miss_of_the_true_class(wrong_class):
    # 2 is a class without a pixel; 7 and 255 are no classes. Class 0 keeps 1 of 2 pixels.
    scores = segmentation_scores(
        confusion_matrix(row(0, 0, 1, 1), row(0, wrong_class, 1, 1), num_classes=3)
    )
    np.testing.assert_array_equal(scores.class_iou, [1 / 2, 1, math.nan])
    np.testing.assert_array_equal(scores.class_accuracy, [1 / 2, 1, math.nan])
    assert scores.miou == pytest.approx(3 / 4)
    assert scores.pacc == pytest.approx(3 / 4)


def test_negative_predictions_are_misses_and_those_on_void_do_not_count():
    truth, prediction = row(0, 1, VOID, VOID), np.array([[-1, 1, 0, 1]])
    assert confusion_matrix(truth, prediction, num_classes=2).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_scores_of_no_labelled_pixel_are_nan_without_a_warning(recwarn):
    scores = segmentation_scores(confusion_matrix(row(VOID, VOID), row(0, 1), num_classes=2))
    assert all(math.isnan(s) for s in (scores.miou, scores.fwiou, scores.macc, scores.pacc))
    assert np.isnan(scores.class_iou).all()
    assert not recwarn.list


def test_unmapped_truth_and_different_shapes_are_errors():
    with pytest.raises(ValueError, match=r"values 0\.\.9, expected 0\.\.4 or 255"):
        confusion_matrix(row(0, 9), row(0, 0), num_classes=5)
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        confusion_matrix(row(0, 1), row(0, 1, 1), num_classes=2)
    consistency = VideoConsistency()
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        consistency.update(row(0, 1), row(0, 1, 1))
    consistency.update(row(0, 1), row(0, 1))
    with pytest.raises(ValueError, match="must have the same size"):
        consistency.update(row(0, 1, 1), row(0, 1, 1))


@pytest.mark.parametrize("num_frames", [1, 2, 5, 8, 16, 17, 40])
@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_streaming_scores_equal_cutting_out_every_window(num_frames, n):
    for seed in range(3):
        truth = random_video(seed, num_frames, change_rate=(0.02, 0.1, 0.9)[seed])
        noise = random_video(seed + 100, num_frames)
        # Right in about half of the pixels, void predicted on some of them.
        mixed = np.where(random_video(seed + 200, num_frames) < 2, truth, noise)
        for prediction in (noise, mixed):
            got = score_windows(truth, prediction, (n,))
            consistencies, accuracies = brute_force_strict_windows(truth, prediction, n)
            assert none_for_nan(got.scores[n]) == brute_force_windows(truth, prediction, n)
            assert none_for_nan(got.strict_scores[n]) == consistencies
            assert none_for_nan(got.temporal_accuracies[n]) == accuracies


def test_strict_scores_by_hand():
    # Four pixels in two frames: right, constant but wrong, flickering, and void.
    truth = np.array([[[0, 1, 2, VOID]], [[0, 1, 2, VOID]]], dtype=np.uint8)
    prediction = np.array([[[0, 3, 2, 1]], [[0, 3, 1, 1]]], dtype=np.uint8)
    windows = score_windows(truth, prediction, (2,))
    assert windows.scores[2] == [3 / 4]  # all but the flickering one of all four
    assert windows.strict_scores[2] == [2 / 3]  # of those that are labelled, the first two
    assert windows.temporal_accuracies[2] == [1 / 3]  # the first alone


def test_a_constant_wrong_prediction_is_consistent_but_not_accurate():
    truth = np.zeros((9, 2, 2), dtype=np.uint8)
    windows = score_windows(truth, truth + 1, (8,))
    assert windows.scores[8] == windows.strict_scores[8] == [1.0, 1.0]
    assert windows.temporal_accuracies[8] == [0.0, 0.0]


def test_nothing_but_void_has_no_strict_score():
    truth = np.full((8, 1, 2), VOID, dtype=np.uint8)
    windows = score_windows(truth, truth, (8,))
    assert windows.scores[8] == [1.0]
    assert math.isnan(windows.strict_scores[8][0])
    assert math.isnan(windows.temporal_accuracies[8][0])
    consistency = VideoConsistency((2,), ignore_label=9)  # another value for void
    for _ in range(2):
        consistency.update(row(0, 9), row(0, 1))
    assert consistency.windows().temporal_accuracies[2] == [1.0]


def test_window_sizes_are_scored_side_by_side_as_if_alone():
    truth, prediction = random_video(0, 30), random_video(1, 30)
    together = score_windows(truth, prediction, (3, 8, 300)).scores
    for n in (3, 8, 300):
        assert together[n] == score_windows(truth, prediction, (n,)).scores[n]


def test_a_run_longer_than_the_longest_window_does_not_overflow():
    # 600 equal frames: more than 8 bits count. Then the prediction flips once.
    truth = np.zeros((608, 1, 1), dtype=np.uint8)
    prediction = np.zeros_like(truth)
    prediction[600:] = 1
    scores = score_windows(truth, prediction, (8,)).scores[8]
    # Of windows 0..600, the 7 that start at 593..599 hold frames 599 and 600, before and after.
    assert scores == [1.0] * 593 + [0.0] * 7 + [1.0]


def test_void_that_stays_void_counts_as_constant_truth():
    truth = np.full((9, 1, 2), VOID, dtype=np.uint8)
    truth[::2, 0, 1] = 0  # the other pixel alternates, so it never counts
    steady = np.zeros_like(truth)
    flickering = np.arange(9, dtype=np.uint8)[:, None, None] % 2 + steady
    assert score_windows(truth, steady, (8,)).scores[8] == [1.0, 1.0]
    assert score_windows(truth, flickering, (8,)).scores[8] == [0.0, 0.0]


def test_a_window_without_a_pixel_of_constant_truth_is_skipped():
    truth = np.zeros((18, 1, 1), dtype=np.uint8)
    truth[8] = 1  # for this frame alone; the windows of 8 that hold it start at 1..8
    scores = official_window_scores(score_windows(truth, np.zeros_like(truth)), 8)
    # Starts 0..9 count officially (18 - 8 windows); 1..8 are skipped: 0 and 9 are left.
    assert scores == [1.0, 1.0]


def test_a_frame_without_ground_truth_takes_out_exactly_the_windows_that_hold_it():
    truth, prediction = random_video(0, 20), random_video(1, 20)
    consistency = VideoConsistency((4,))
    for i in range(20):
        if i == 9:
            consistency.skip_frame()
        else:
            consistency.update(truth[i], prediction[i])
    expected = brute_force_windows(truth, prediction, 4)
    expected[6:10] = [None] * 4  # windows 6..9 hold frame 9
    got = consistency.windows()
    assert none_for_nan(got.scores[4]) == expected
    for strict, whole in zip(
        (got.strict_scores, got.temporal_accuracies),
        brute_force_strict_windows(truth, prediction, 4),
    ):
        assert none_for_nan(strict[4]) == [*whole[:6], *[None] * 4, *whole[10:]]
    assert got.num_frames == 20


@pytest.mark.parametrize(
    ("scored", "longest"),
    [("", 0), ("0", 0), ("1", 1), ("110111011", 3), ("10101", 1), ("1111", 4)],
)
def test_the_longest_run_of_scored_frames_says_which_window_sizes_have_a_window(scored, longest):
    labels = np.zeros((2, 2), np.uint8)
    consistency = VideoConsistency((2, 3, 4))
    for digit in scored:
        if digit == "1":
            consistency.update(labels, labels)
        else:
            consistency.skip_frame()
    windows = consistency.windows()
    assert windows.longest_scored_run == longest
    for n in (2, 3, 4):
        assert any(score == 1.0 for score in windows.scores[n]) == (longest >= n)


def test_the_last_window_of_a_video_is_left_out():
    # 17 frames have windows of 16 at 0 and 1; only the one at 0 counts. The prediction changes in
    # the last frame, which only the window at 1 holds.
    truth = np.zeros((17, 1, 1), dtype=np.uint8)
    prediction = np.zeros_like(truth)
    prediction[16] = 1
    windows = score_windows(truth, prediction)
    assert windows.scores[16] == [1.0, 0.0]
    assert official_window_scores(windows, 16) == [1.0]
    # Windows of 8: at 0..9, of which 0..8 count; only the one at 9 holds frame 16.
    assert official_window_scores(windows, 8) == [1.0] * 9


@pytest.mark.parametrize("num_frames, counted", [(16, 0), (17, 17 - 8)])
def test_videos_of_16_frames_or_fewer_are_left_out_of_vc8_too(num_frames, counted):
    video = np.zeros((num_frames, 2, 2), dtype=np.uint8)
    assert len(official_window_scores(score_windows(video, video), 8)) == counted


def test_a_reused_frame_buffer_does_not_hide_changes():
    consistency = VideoConsistency((2,))
    truth, buffer = row(0), row(0)
    for label in (0, 1, 2):
        buffer[:] = label
        consistency.update(truth, buffer)
    assert consistency.windows().scores[2] == [0.0, 0.0]


@pytest.mark.parametrize("window_sizes", [(), (1,), (8, 0)])
def test_windows_of_fewer_than_two_frames_are_an_error(window_sizes):
    with pytest.raises(ValueError, match="window_sizes"):
        VideoConsistency(window_sizes)


def test_pooled_mean_weighs_windows_and_not_videos_and_is_rounded_once():
    assert pooled_mean({"a": [1.0, 1.0, 1.0], "b": [0.0], "c": []}) == 3 / 4
    # Added one by one, 0.1 ten times gives 0.9999999999999999.
    assert pooled_mean({"a": [0.1] * 10}) == 0.1
    assert math.isnan(pooled_mean({}))
    assert math.isnan(pooled_mean({"a": official_window_scores(VideoWindows(3, {8: []}), 8)}))


def test_pooled_mean_does_not_depend_on_the_order_of_videos():
    rng = np.random.RandomState(0)
    scores = {f"video{i}": rng.rand(50).tolist() for i in range(20)}
    reversed_scores = dict(reversed(scores.items()))
    assert list(scores) != list(reversed_scores)
    assert pooled_mean(scores) == pooled_mean(reversed_scores)


def test_metrics_import_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(metrics.__file__).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"collections.abc", "dataclasses", "math", "numpy"}
