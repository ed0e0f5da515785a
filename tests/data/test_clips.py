"""Which frames make a clip, at test and in training."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from cffm_plugin.core import clips

OFFICIAL = json.loads((Path(__file__).parents[1] / "golden" / "test_clip_frames.json").read_text())
OFFSETS = (-9, -6, -3)
SOME_OFFSETS = [OFFSETS, (-1,), (-4, -2), (-3, -2, -1), (-20, -1), (-12, -9, -6, -3)]


@pytest.mark.parametrize(
    ("offsets", "target", "frames"),
    [
        *((OFFSETS, int(target), frames) for target, frames in OFFICIAL.items()),
        # Reference i of 2 is frame ceil(i * target / 2) while target < 4.
        *(((-4, -2), i, frames) for i, frames in enumerate([[0], [1], [0, 1, 2], [0, 2, 3]])),
        *(((-4, -2), i, [i - 4, i - 2, i]) for i in (4, 5)),
    ],
)
def test_test_clips_are_the_official_ones_and_by_the_same_rule_for_other_offsets(
    offsets, target, frames
):
    assert clips.inference_clip(target, offsets) == frames


@pytest.mark.parametrize("offsets", SOME_OFFSETS)
def test_test_clips_have_all_references_or_none_and_go_forward_in_time(offsets):
    for target in range(30):
        *references, last = clips.inference_clip(target, offsets)
        assert last == target
        assert len(references) == (len(offsets) if target >= len(offsets) else 0)
        assert all(a < b for a, b in zip(references, [*references[1:], target]))
        assert all(frame >= 0 for frame in references)
        if target >= -offsets[0]:
            assert references == [target + offset for offset in offsets]


@pytest.mark.parametrize(
    ("target", "frames"),
    [
        (9, [0, 3, 6, 9]),
        (8, [17, 14, 11, 8]),  # the future, farthest first
        (0, [9, 6, 3, 0]),
        (17, [8, 11, 14, 17]),
    ],
)
def test_offline_clips_are_whole_where_the_video_has_either_direction(target, frames):
    assert clips.offline_clip(target, 18, OFFSETS) == frames


@pytest.mark.parametrize("target", range(9))
def test_offline_clips_are_those_of_evaluation_where_neither_direction_is_whole(target):
    assert clips.offline_clip(target, 9, OFFSETS) == clips.inference_clip(target, OFFSETS)
    assert clips.offline_clip(target, 30, OFFSETS, 0.0) == clips.inference_clip(target, OFFSETS)


def test_without_offsets_a_clip_is_the_target_and_no_target_is_negative():
    assert clips.offline_clip(5, 9, ()) == [5]
    assert clips.inference_clip(5, ()) == [5]
    assert clips.training_clip(1, (), random.Random(0)) == [0]
    with pytest.raises(ValueError, match="-1"):
        clips.inference_clip(-1, OFFSETS)


def draws(num_frames, count, **kwargs):
    rng = random.Random(0)
    return [tuple(clips.training_clip(num_frames, OFFSETS, rng, **kwargs)) for _ in range(count)]


def test_training_clips_are_all_full_clips_forward_and_reversed_equally_often():
    forward = {(t - 9, t - 6, t - 3, t) for t in range(9, 14)}
    backward = {tuple(13 - frame for frame in clip) for clip in forward}
    counts = Counter(draws(14, 3000))
    assert set(counts) == forward | backward
    # 5 targets, 2 directions: each of the ten clips 300 times in 3000, standard deviation 16.4.
    assert all(abs(count - 300) < 5 * 16.4 for count in counts.values())
    assert set(draws(10, 50)) == {(0, 3, 6, 9), (9, 6, 3, 0)}  # the shortest video
    assert all(clip[0] < clip[-1] for clip in draws(30, 100, reverse_prob=0.0))
    assert all(clip[0] > clip[-1] for clip in draws(30, 100, reverse_prob=1.0))


def test_a_video_shorter_than_a_clip_is_refused():
    assert not clips.is_long_enough(9, OFFSETS)
    assert clips.is_long_enough(10, OFFSETS)
    assert clips.is_long_enough(1, ())
    assert not clips.is_long_enough(0, ())
    with pytest.raises(ValueError, match=r"9 frames.*takes 10 frames"):
        clips.training_clip(9, OFFSETS, random.Random(0))


# Sparse labels


def sparse_draws(num_frames, offsets, labelled, count=200, reverse_prob=0.5):
    rng = random.Random(0)
    return Counter(
        tuple(clips.training_clip(num_frames, offsets, rng, reverse_prob, labelled))
        for _ in range(count)
    )


@pytest.mark.parametrize("offsets", SOME_OFFSETS)
@pytest.mark.parametrize("labelled", [[0, 3, 6, 9, 12, 15, 18, 21, 24], [0, 23], [3], [24]])
def test_targets_are_all_labelled_frames_with_their_references_in_either_direction(
    offsets, labelled
):
    span = -offsets[0]
    forward = {tuple(t + o for o in (*offsets, 0)) for t in labelled if t >= span}
    backward = {tuple(t - o for o in (*offsets, 0)) for t in labelled if t + span <= 24}
    assert set(sparse_draws(25, offsets, labelled)) == forward | backward


def test_labels_on_all_frames_change_no_draw():
    for reverse_prob in (0.0, 0.3, 1.0):
        one, other = random.Random(4), random.Random(4)
        for _ in range(50):
            assert clips.training_clip(14, OFFSETS, one, reverse_prob) == clips.training_clip(
                14, OFFSETS, other, reverse_prob, range(14)
            )


def test_where_one_direction_has_targets_all_clips_run_in_it():
    # Frame 20 of 25 has no frame 29: only forward in time. Frame 4 only backward.
    assert set(sparse_draws(25, OFFSETS, [20])) == {(11, 14, 17, 20)}
    assert set(sparse_draws(25, OFFSETS, [4])) == {(13, 10, 7, 4)}


def test_sparse_targets_are_uniform_in_their_direction():
    # Forward: frames 12 and 20. Backward: 4 and 12 (20 + 9 > 24). Each direction has half of 4000
    # draws, each of its targets half of these: 1000, standard deviation sqrt(4000 * 3) / 4 = 27.4.
    counts = sparse_draws(25, OFFSETS, [4, 12, 20], count=4000)
    assert len(counts) == 4
    assert all(abs(count - 1000) < 5 * 27.4 for count in counts.values())


@pytest.mark.parametrize(
    ("reverse_prob", "labelled"), [(0.0, [4]), (1.0, [20]), (0.5, []), (0.5, [8])]
)
def test_without_a_labelled_frame_that_has_its_references_there_is_no_clip(reverse_prob, labelled):
    # Probabilities 0 and 1 rule a direction out. Of 16 frames, frame 8 has neither -1 nor 17.
    num_frames = 16 if labelled == [8] else 25
    with pytest.raises(ValueError, match="no labelled frame has all its references"):
        sparse_draws(num_frames, OFFSETS, labelled, reverse_prob=reverse_prob)
    assert not any(clips.training_targets(num_frames, OFFSETS, reverse_prob, labelled))


@pytest.mark.parametrize("offsets", [(-3, -6, -9), (-3, -3), (-3, 0), (3, 6), (0,)])
def test_offsets_that_are_not_negative_and_increasing_are_refused(offsets):
    for use in (
        lambda: clips.inference_clip(20, offsets),
        lambda: clips.training_clip(20, offsets, random.Random(0)),
        lambda: clips.is_long_enough(20, offsets),
    ):
        with pytest.raises(ValueError, match="negative and strictly increasing"):
            use()


@pytest.mark.parametrize("reverse_prob", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("labelled", [None, [2, 11]])
@pytest.mark.parametrize("offsets", [OFFSETS, (-4, -2), ()])
def test_the_frames_that_training_reads_are_those_that_its_clips_hold(
    offsets, labelled, reverse_prob
):
    drawn = sparse_draws(12, offsets, labelled, 400, reverse_prob)
    frames = {frame for clip in drawn for frame in clip}
    assert clips.training_frames(12, offsets, reverse_prob, labelled) == frames
    assert clips.training_frames(9, OFFSETS) == set()  # too short
