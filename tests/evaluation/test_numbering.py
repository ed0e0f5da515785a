"""Predictions that are called otherwise than their frames: no neighbour's truth is theirs."""

import json

import numpy as np
import pytest
from PIL import Image

from cffm_plugin.cli import score as score_command
from cffm_plugin.data import Dataset
from cffm_plugin.evaluation import score_predictions
from cffm_plugin.evaluation.numbering import NamedVideo, by_number, in_order, other_names

SIZE = (4, 6)
LENGTH = 6


def labels(seed):
    return np.random.RandomState(seed).randint(0, 3, SIZE).astype(np.uint8)


def write(root, frames, files):
    """Videos, video -> names of frames, and perfect predictions, video -> names of files in the
    order of the frames (None: not there)."""
    for v, (video, names) in enumerate(frames.items()):
        for kind in ("origin", "mask"):
            (root / "data" / video / kind).mkdir(parents=True)
        (root / "predictions" / video).mkdir(parents=True)
        for i, (name, file) in enumerate(zip(names, files[video], strict=True)):
            truth = labels(100 * v + i)
            Image.fromarray(truth + 1).save(root / "data" / video / "origin" / f"{name}.png")
            Image.fromarray(truth + 1).save(root / "data" / video / "mask" / f"{name}.png")
            if file is not None:
                Image.fromarray(truth).save(root / "predictions" / video / file)
    (root / "val.txt").write_text("\n".join(frames))
    return root


def score(root, **options):
    return score_predictions(Dataset.in_folder(root, "val", 3), root / "predictions", **options)


def names(start, pattern="{:08d}", length=LENGTH):
    return [pattern.format(i) for i in range(start, start + length)]


CITYSCAPES = "frankfurt_000000_{:06d}_leftImg8bit"
# Frames, files of predictions, and the offset that the error names.
CASES = {
    "frames from 1": (names(1), names(0, "{:08d}.png"), 1),
    "predictions from 1": (names(0), names(1, "{:08d}.png"), -1),
    "frames from 163": (names(163), names(0, "{:08d}.png"), 163),
    "one is missing": (names(1), [None if i == 3 else f"{i:08d}.png" for i in range(6)], 1),
    "no padding": (names(7), names(7, "{}.png"), 0),
    "no padding, from 0": (names(1), names(0, "{}.png"), 1),
    "less padding": (names(0), names(0, "{:04d}.png"), 0),
    "a suffix": (names(0), names(0, "{:08d}_pred.png"), 0),
    "a suffix with a digit": (names(0, CITYSCAPES), names(0, CITYSCAPES + "_pred.png"), 0),
    "without the frames' suffix": (names(8, CITYSCAPES), names(8, "frankfurt_0_{}.png"), 0),
    "a suffix and shifted": (names(1), names(0, "frame{:03d}_v2.png"), 1),
    "upper case": (names(0), names(0, "{:08d}.PNG"), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_error_says_the_offset_with_which_every_prediction_meets_its_frame(case, tmp_path):
    frames, files, offset = CASES[case]
    other = {"a": frames[:5], "b": frames}
    write(tmp_path, other, {"a": files[:5], "b": files})
    with pytest.raises(ValueError, match=rf"--frame-offset {offset}\b.*rename") as error:
        score(tmp_path)
    assert "score the frames that fit with --partial" not in str(error.value)
    missing = None in files
    scores = score(tmp_path, frame_offset=offset, partial=missing)
    assert scores.results().sem_seg["mIoU"] == 100  # neighbours have other labels
    assert scores.scored_frames == 11 - 2 * missing


@pytest.mark.parametrize("partial", [False, True])
def test_frames_are_never_scored_against_their_neighbours_unless_it_is_said(tmp_path, partial):
    write(tmp_path, {"a": names(1)}, {"a": names(0, "{:08d}.png")})
    with pytest.raises(ValueError, match="shifted against the frames' by \\+1: a/00000000.png is"):
        score(tmp_path, partial=partial)
    said = score(tmp_path, partial=True, frame_offset=0)
    assert said.scored_frames == LENGTH - 1 and said.results().sem_seg["mIoU"] < 90


def test_one_video_that_is_shifted_among_others_is_named(tmp_path):
    write(
        tmp_path,
        {"a": names(0), "b": names(1)},
        {"a": names(0, "{:08d}.png"), "b": names(0, "{:08d}.png")},
    )
    for partial in (False, True):
        with pytest.raises(ValueError, match=r"look shifted against their frames': b by \+1\. Ren"):
            score(tmp_path, partial=partial)


def test_videos_that_start_at_different_numbers_are_taken_in_order(tmp_path):
    steps = [f"{i:08d}" for i in range(0, 5 * LENGTH, 5)]
    files = names(0, "{}.png", 12)  # 10 comes after 9
    frames = {"a": names(3, length=12), "b": names(40, length=12), "c": [*steps, *names(90)]}
    write(tmp_path, frames, dict.fromkeys("abc", files))
    with pytest.raises(ValueError, match="--in-order"):
        score(tmp_path)
    assert score(tmp_path, in_order=True).results().sem_seg["mIoU"] == 100
    (tmp_path / "predictions" / "b" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"Video b: 11 predictions .* its 12 frames"):
        score(tmp_path, in_order=True)


def test_of_several_offsets_it_is_the_one_that_gives_labelled_frames_their_predictions():
    labelled = tuple(i in (0, 3) for i in range(LENGTH))
    video = NamedVideo("a", tuple(names(10)), labelled, ("0_pred.png", "3_pred.png"))
    found = other_names([video])  # by 11 and by 12 too they would be frames
    assert "--frame-offset 10" in found.advice and not found.overlap
    expected = {"00000010": "0_pred.png", "00000013": "3_pred.png"}
    assert by_number(video, 10) == in_order(video) == expected


def test_a_stray_file_and_a_missing_one_are_no_shift(tmp_path):
    files = names(0, "{:08d}.png")
    files[2] = "stray.png"
    write(tmp_path, {"a": names(0)}, {"a": files})
    with pytest.raises(ValueError, match="1 missing.*(?s:.*)score the frames that fit with --par"):
        score(tmp_path)
    assert score(tmp_path, partial=True).scored_frames == LENGTH - 1


def test_two_predictions_of_one_number_and_two_ways_of_matching_are_errors(tmp_path):
    write(tmp_path, {"a": names(0)}, {"a": names(0, "{:04d}.png")})
    with pytest.raises(ValueError, match="choose one"):
        score(tmp_path, frame_offset=0, in_order=True)
    Image.fromarray(labels(0)).save(tmp_path / "predictions" / "a" / "1.png")
    with pytest.raises(ValueError, match=r"Video a: 0001.png and 1.png are both of frame 00000001"):
        score(tmp_path, frame_offset=0)


def test_frames_without_numbers_have_no_offset(tmp_path):
    write(tmp_path, {"a": ["x", "y"]}, {"a": ["1.png", "2.png"]})
    with pytest.raises(ValueError, match="--in-order"):
        score(tmp_path)
    with pytest.raises(ValueError, match="Video a: its frames are not told apart by numbers"):
        score(tmp_path, frame_offset=0)
    assert score(tmp_path, in_order=True).results().sem_seg["mIoU"] == 100


def test_the_command_takes_both_flags(tmp_path, capsys):
    write(tmp_path, {"a": names(1)}, {"a": names(0, "{:08d}.png")})
    command = ["--dataset-root", tmp_path, "--split", "val", "--num-classes", 3]
    command += ["--predictions", tmp_path / "predictions", "--jobs", 1]
    command += ["--json", tmp_path / "scores.json"]
    for flags in (["--frame-offset", 1], ["--in-order"]):
        assert score_command.main([*map(str, [*command, *flags])]) == 0
        assert "6 of 6 frames" in capsys.readouterr().out
        assert json.loads((tmp_path / "scores.json").read_text())["sem_seg"]["mIoU"] == 100
    with pytest.raises(SystemExit, match="--frame-offset 1"):
        score_command.main([*map(str, command)])
