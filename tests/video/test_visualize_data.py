"""cffm visualize as a person calls it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cffm_plugin.cli.visualize import main
from cffm_plugin.data import build_clip_train_loader

LABELS_ROW = 160  # frames of 64 pixels are enlarged to 192 x 144, crops of 32 to 160


@pytest.fixture
def call(tiny_cffm_cfg, tmp_path, monkeypatch):
    """Call the command on the tiny dataset; gives its exit code and the files by name."""
    monkeypatch.setattr("cffm_plugin.cli.work.visualize.setup_logger", lambda **kwargs: None)
    config = tmp_path / "config.yaml"
    config.write_text(tiny_cffm_cfg.dump())

    def run(*arguments, opts=()):
        folder = tmp_path / "sheets"
        flags = ["--config-file", str(config), "--output", str(folder), *arguments]
        try:
            code = main([*flags, *opts])
        except SystemExit as ended:  # with a message
            print(ended.code, file=sys.stderr)
            code = 1
        return code, {file.name: file for file in sorted(folder.glob("*"))}

    return run


def test_the_loaders_clips_are_written_with_video_and_target_in_their_names(call, tiny_cffm_cfg):
    code, files = call("--source", "dataloader", "--num-clips", "3")
    assert code == 0
    loader = iter(build_clip_train_loader(tiny_cffm_cfg))
    clips = [*next(loader), *next(loader)][:3]
    assert list(files) == [
        f"{i:04d}_{clip['video_id']}_{Path(clip['file_names'][-1]).stem}.png"
        for i, clip in enumerate(clips)
    ]
    # The first clip's first frame stands in the sheet, enlarged, pixel by pixel.
    frame = clips[0]["image"][0].permute(1, 2, 0).numpy().round().astype(np.uint8)
    enlarged = frame.repeat(5, 0).repeat(5, 1)
    sheet = np.array(Image.open(next(iter(files.values()))))
    height, width = enlarged.shape[:2]
    places = [
        (top, left)
        for top in range(30, 60)
        for left in range(30, 90)
        if np.array_equal(sheet[top : top + height, left : left + width], enlarged)
    ]
    assert len(places) == 1


def test_the_datasets_own_clips_are_whole_frames_spread_over_all_videos(call, tiny_vspw):
    code, files = call("--source", "annotation", "--num-clips", "6")
    assert code == 0
    videos = [name.split("_")[1] for name in files]
    assert set(videos) == {"t0", "t1", "t2"} and videos == sorted(videos)
    width = 4 * 3 * tiny_vspw.size[1]  # four frames, enlarged threefold
    assert Image.open(next(iter(files.values()))).width > width


def test_fewer_clips_than_asked_for_are_all_that_there_are(call):
    code, files = call("--source", "annotation", "--num-clips", "1000")
    # Videos of 12, 13 and 14 frames: each frame from the tenth on can be a target.
    assert (code, len(files)) == (0, (12 - 9) + (13 - 9) + (14 - 9))


def test_a_dataset_that_is_not_registered_is_named(call, capsys):
    code, files = call("--source", "annotation", opts=("DATASETS.TRAIN", "vspw_trian"))
    assert code == 1 and not files
    assert "vspw_trian" in capsys.readouterr().err


def test_a_dataset_for_evaluation_is_refused(call, capsys, tiny_vspw):
    code, files = call("--source", "annotation", opts=("DATASETS.TRAIN", tiny_vspw.val))
    assert code == 1 and not files
    assert "is_train=True" in capsys.readouterr().err


def test_offsets_that_no_frame_has_are_an_error(call, capsys):
    opts = ("MODEL.TEMPORAL.FRAME_OFFSETS", "(-30,-20,-10)")
    code, _ = call("--source", "annotation", opts=opts)
    assert code == 1
    assert "MODEL.TEMPORAL.FRAME_OFFSETS" in capsys.readouterr().err


def test_a_window_without_a_display_is_an_error(call, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    code, files = call("--source", "dataloader", "--show")
    assert code == 1 and not files
    assert "no display" in capsys.readouterr().err


def test_another_source_is_an_error_that_names_those_that_are(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--source", "nothing"])
    assert stop.value.code == 2
    assert "dataloader" in capsys.readouterr().err
