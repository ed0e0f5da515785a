"""cffm frames: every frame once, under its index, as it is shown."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_files import as_quarters, write_video

from cffm_plugin.cli import frames
from cffm_plugin.video.reading import VideoFile

pytest.importorskip("av")

TIMES = [0, 40, 60, 500, 520]


def numbered(count):
    """Pictures that tell their number."""
    return [np.full((48, 64, 3), 40 + 30 * index, dtype=np.uint8) for index in range(count)]


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_every_frame_is_there_once_under_its_index_with_its_time(tmp_path, kind):
    video = write_video(tmp_path / "walk.mp4", numbered(5), times=TIMES)
    folder = tmp_path / "mine" / "walk" / "frames"
    assert frames.main([str(video), "--output", str(folder), "--format", kind]) == 0
    expected = [f"{index:08d}.{kind}" for index in range(5)]
    assert sorted(file.name for file in folder.iterdir()) == [*expected, "times.csv"]
    for index, name in enumerate(expected):
        assert np.asarray(Image.open(folder / name)).mean() == pytest.approx(40 + 30 * index, abs=2)
    with open(folder / "times.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [Path(name).stem for name in expected]
    assert [float(row["seconds"]) for row in rows] == pytest.approx([t / 1000 for t in TIMES])
    assert list(folder.parent.iterdir()) == [folder]


def test_pictures_are_upright_and_in_the_colours_that_the_video_is_read_in(tmp_path):
    """A JPEG of unconverted BT.709 values shows red as (233, 0, 2)."""
    video = write_video(tmp_path / "red.mp4", [np.full((48, 64, 3), (255, 0, 0), dtype=np.uint8)])
    for kind in ("jpg", "png"):
        frames.main([str(video), "--output", str(tmp_path / kind), "--format", kind])
        picture = np.asarray(Image.open(tmp_path / kind / f"00000000.{kind}")).astype(int)
        assert np.abs(picture - (255, 0, 0)).max() <= 2
    mirrored = [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    video = write_video(tmp_path / "selfie.mp4", [as_quarters()], matrix=mirrored)
    frames.main([str(video), "--output", str(tmp_path / "out"), "--format", "png"])
    picture = np.asarray(Image.open(tmp_path / "out" / "00000000.png"))
    assert np.abs(picture.astype(int) - np.fliplr(as_quarters())).mean() < 8
    (frame,) = VideoFile(video)
    np.testing.assert_array_equal(picture, frame.image[..., ::-1])


def test_several_videos_become_a_folder_each_and_one_that_fails_stops_none(tmp_path, capsys):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", numbered(2))
    (tmp_path / "broken.mp4").write_text("no video")
    videos = [str(tmp_path / f"{name}.mp4") for name in ("a", "broken", "b")]
    assert frames.main([*videos, "--output", str(tmp_path / "out")]) == 1
    assert {folder.name for folder in (tmp_path / "out").iterdir()} == {"a", "b"}
    assert "broken.mp4: expected a video" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_refused_and_stays(tmp_path):
    video = write_video(tmp_path / "a.mp4", numbered(2))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(SystemExit, match="out is there and not empty"):
        frames.main([str(video), "--output", str(folder)])
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def test_what_came_of_a_damaged_video_is_written_and_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    whole = write_video(tmp_path / "whole.mkv", pictures).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    folder = tmp_path / "out"
    assert frames.main([str(tmp_path / "cut.mkv"), "--output", str(folder)]) == 2
    assert 1 < len(list(folder.glob("*.jpg"))) < 40
    assert "cut.mkv: incomplete" in capsys.readouterr().err


def test_a_video_of_which_nothing_comes_leaves_no_folder_and_claims_none(tmp_path, capsys):
    """Its index promises frames, and what it points to is gone."""
    whole = write_video(tmp_path / "whole.mp4", numbered(5), options={"movflags": "faststart"})
    content = whole.read_bytes()
    data = content.index(b"mdat") + 4
    (tmp_path / "empty.mp4").write_bytes(content[:data] + bytes(len(content) - data))
    folder = tmp_path / "out"
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(frames.main([str(tmp_path / "empty.mp4"), "--output", str(folder)]))
    assert stopped.value.code != 0 and not folder.exists()
    told = f"{stopped.value.code} {capsys.readouterr().err}"
    assert "empty.mp4: " in told and "What came" not in told and "Done" not in told
