"""The synthetic dataset: its files, that it can be made again, and what its videos are like."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from cffm_plugin.cli import synthetic
from cffm_plugin.synthetic import (
    SYNTHETIC_CLASSES,
    SYNTHETIC_COLORS,
    SyntheticConfig,
    render_video,
    write_synthetic_vspw,
)

TINY = SyntheticConfig(
    height=24, width=32, frames_per_video=3, num_videos={"train": 2, "val": 1, "test": 1}
)
STILL = SyntheticConfig(
    height=48, width=64, noise=0, flicker=0, blur=0, occlusion=0, motion=0, frames_per_video=16
)


def files_of(root):
    """Relative path -> bytes of every file under a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def render(config, split="train", index=0):
    """Images (T, H, W, 3) and raw labels (T, H, W) of a video."""
    images, labels = zip(*render_video(config, split=split, index=index))
    return np.stack(images), np.stack(labels)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_synthetic_vspw(tmp_path_factory.mktemp("written"), TINY)


# ------------------------------------------------------------------------------------------- files


def test_the_layout_is_exactly_vspws_beside_the_config(written):
    videos = {"train": ["train_0000", "train_0001"], "val": ["val_0000"], "test": ["test_0000"]}
    expected = {"synthetic.json", "train.txt", "val.txt", "test.txt"}
    for split, names in videos.items():
        assert (written / f"{split}.txt").read_text().splitlines() == names
        for name in names:
            for frame in range(3):
                expected.add(f"data/{name}/origin/{frame:08d}.jpg")
                expected.add(f"data/{name}/mask/{frame:08d}.png")
    assert set(files_of(written)) == expected
    stored = json.loads((written / "synthetic.json").read_text())
    assert stored["config"] == {**vars(TINY), "num_videos": dict(TINY.num_videos)}
    assert stored["classes"] == list(SYNTHETIC_CLASSES[:10])


def test_masks_are_index_pngs_of_the_frames_size_and_of_declared_values(written):
    for mask_file in written.rglob("*.png"):
        frame = Image.open(str(mask_file).replace("mask", "origin").replace(".png", ".jpg"))
        mask = Image.open(mask_file)
        assert (mask.mode, frame.mode) == ("L", "RGB")
        assert mask.size == frame.size == (32, 24)
        assert set(np.unique(mask)) <= {*range(TINY.num_classes + 1), 255}


def test_files_hold_what_render_video_yields(written):
    images, labels = render(TINY, "val", 0)
    folder = written / "data" / "val_0000"
    # JPEG loses detail, most of all of colour. Still a file is closest to its own frame, and with
    # the channels in the right order: render_video gives blue first, Pillow red.
    candidates = np.concatenate([images[..., ::-1], images]).astype(float)  # right, then swapped
    for t in range(3):
        assert (np.asarray(Image.open(folder / f"mask/{t:08d}.png")) == labels[t]).all()
        decoded = np.asarray(Image.open(folder / f"origin/{t:08d}.jpg"), dtype=float)
        assert np.abs(decoded - candidates).mean(axis=(1, 2, 3)).argmin() == t


# ------------------------------------------------------------------------------------ repeatability


@pytest.mark.slow(reason="two processes start")
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_jobs(written, tmp_path):
    assert files_of(write_synthetic_vspw(tmp_path / "two", TINY, jobs=2)) == files_of(written)


def test_another_seed_split_or_index_gives_another_video_and_a_shorter_one_is_its_start():
    images, labels = render(TINY)
    assert (images == render(TINY)[0]).all()
    assert (images != render(replace(TINY, seed=1))[0]).any()
    assert (images != render(TINY, split="val")[0]).any()
    assert (images != render(TINY, index=1)[0]).any()
    longer_images, longer_labels = render(replace(TINY, frames_per_video=8))
    assert (longer_images[:3] == images).all() and (longer_labels[:3] == labels).all()


def test_a_restart_after_an_interruption_gives_the_same_bytes(written, tmp_path, monkeypatch):
    encode, calls = cv2.imencode, []

    def encode_until_interrupted(*args):
        calls.append(args)
        if len(calls) > 9:  # a video has 6 files: the second is half written
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(cv2, "imencode", encode_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_vspw(tmp_path, TINY)
    assert not (tmp_path / "synthetic.json").exists()
    half_written = next(tmp_path.rglob("*.partial/mask/00000000.png"))
    half_written.write_bytes(b"")  # as after a full disk
    monkeypatch.undo()
    assert files_of(write_synthetic_vspw(tmp_path, TINY)) == files_of(written)


def test_a_complete_dataset_is_left_as_it_is_and_so_is_a_file_that_was_not_written(tmp_path):
    write_synthetic_vspw(tmp_path, TINY)
    frame = tmp_path / "data/train_0000/origin/00000000.jpg"
    frame.write_bytes(b"mine")
    write_synthetic_vspw(tmp_path, TINY)
    assert frame.read_bytes() == b"mine"
    (tmp_path / "data/train_0000/notes.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        write_synthetic_vspw(tmp_path, replace(TINY, seed=1), overwrite=True)
    assert files_of(tmp_path) == before


# ---------------------------------------------------------------------------- other people's files


def test_a_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("ten years of work")
    before = files_of(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="an empty or a new folder"):
            write_synthetic_vspw(tmp_path, TINY, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="choose a folder"):
        write_synthetic_vspw(tmp_path / "data/thesis.txt", TINY)
    assert files_of(tmp_path) == before


def test_another_configs_dataset_is_replaced_only_on_demand(written, tmp_path):
    other = replace(TINY, seed=5, frames_per_video=5, num_videos={"train": 3, "val": 2})
    before = files_of(write_synthetic_vspw(tmp_path, other))
    with pytest.raises(FileExistsError, match=r"seed 5 instead of 0.*overwrite=True"):
        write_synthetic_vspw(tmp_path, TINY)
    assert files_of(tmp_path) == before
    write_synthetic_vspw(tmp_path, TINY, overwrite=True)
    assert files_of(tmp_path) == files_of(written)
    assert not (tmp_path / "data/train_0002").exists()


# ------------------------------------------------------------------------------------------ content


def test_every_declared_class_and_void_appears():
    config = SyntheticConfig(height=48, width=64, frames_per_video=2)
    for split in ("train", "val", "test"):
        values = {int(v) for i in range(10) for v in np.unique(render(config, split, i)[1])}
        assert values == {*range(11), 255}


def test_truths_mostly_overlap_but_change_more_the_farther_apart_they_are():
    # Of the width, a thing moves at most 1.5 % per frame and the camera 0.9 %: over 9 frames some
    # 20 % at the very most, where both are fastest and opposed. Bars are left out: they go at once.
    config = SyntheticConfig(height=48, width=64, noise=0, occlusion=0, frames_per_video=19)
    labels = np.stack([render(config, index=i)[1] for i in range(6)])  # (V, T, H, W)
    changed = {gap: (labels[:, gap:] != labels[:, :-gap]).mean() for gap in (1, 3, 9)}
    assert 0 < changed[1] < changed[3] < changed[9] < 0.5
    assert (labels[:, 1:] != labels[:, :-1]).any(axis=(2, 3)).mean() > 0.9


def test_without_motion_and_bars_the_truth_stands_still():
    images, labels = render(STILL)
    assert (labels == labels[0]).all() and (images == images[0]).all()


def test_noise_light_and_blur_change_the_frames_and_not_the_truth():
    plain = replace(STILL, motion=1.0)
    images, labels = render(plain)
    for change in ({"noise": 30.0}, {"flicker": 1.0}, {"blur": 1.0}):
        other_images, other_labels = render(replace(plain, **change))
        assert (other_labels == labels).all()
        assert (other_images != images).mean() > 0.3


def test_noise_is_independent_between_frames_so_that_their_mean_has_less_of_it():
    clean = render(STILL)[0][0].astype(float)
    noisy = render(replace(STILL, noise=12.0))[0].astype(float)
    one = np.sqrt(((noisy[0] - clean) ** 2).mean())
    mean = np.sqrt(((noisy.mean(axis=0) - clean) ** 2).mean())
    # Grain has deviation 12, and the blotches 0.5 and 0.6 of it, less what interpolation smooths.
    assert 12 < one < 12 * np.sqrt(1 + 0.5**2 + 0.6**2) * 1.1
    assert mean == pytest.approx(one / np.sqrt(16), rel=0.2)


def test_a_class_looks_different_from_video_to_video():
    def mean_color(index, k=0):
        images, labels = render(STILL, index=index)
        inside = labels[0] == k + 1
        return images[0][inside].mean(axis=0) if inside.sum() > 50 else None

    means = [color for i in range(12) if (color := mean_color(i)) is not None]
    assert len(means) >= 3
    assert (np.std(means, axis=0) > 2).all()


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (7, 90)])
@pytest.mark.parametrize("num_classes", [2, 124])
def test_any_size_and_number_of_classes_works(size, num_classes):
    config = SyntheticConfig(
        height=size[0], width=size[1], num_classes=num_classes, frames_per_video=2
    )
    images, labels = render(config, index=3)
    assert images.shape == (2, *size, 3) and images.dtype == np.uint8
    assert labels.shape == (2, *size) and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(num_classes + 1), 255}


def test_all_124_classes_have_their_own_name_and_color():
    assert len(set(SYNTHETIC_CLASSES)) == len(set(SYNTHETIC_COLORS)) == 124
    assert all(0 <= channel <= 255 for color in SYNTHETIC_COLORS for channel in color)


# ------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_classes": 125}, "num_classes must be 2..124"),
        ({"num_classes": 1}, "num_classes must be 2..124"),
        ({"height": 0}, "height must be at least 1"),
        ({"noise": -1.0}, "noise must not be negative"),
        ({"num_videos": {"training": 3}}, "num_videos must map train, val, test"),
    ],
)
def test_a_config_out_of_range_is_an_error_that_names_the_value(wrong, message):
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**wrong)


def test_an_unknown_split_and_jobs_below_one_are_errors(tmp_path):
    with pytest.raises(ValueError, match="a split of train, val, test"):
        next(render_video(TINY, split="training"))
    with pytest.raises(ValueError, match="jobs must be at least 1"):
        write_synthetic_vspw(tmp_path, TINY, jobs=0)


# --------------------------------------------------------------------------------------------- tool


def test_the_command_writes_the_same_and_says_how_to_use_it(written, tmp_path, capsys):
    output = tmp_path / "synthetic_vspw"
    options = ["--videos", "2", "1", "1", "--frames", "3", "--size", "24", "32", "--jobs", "1"]
    synthetic.main(["--output", str(output), *options])
    assert files_of(output) == files_of(written)
    assert f"export DETECTRON2_DATASETS={tmp_path}" in capsys.readouterr().out
