"""Frames from images, files and cameras; pictures to files, folders and windows."""

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from cffm_plugin.video.reading import ImageFiles, SourceFrame, VideoFile, Webcam
from cffm_plugin.video.writing import (
    LabelMapFolder,
    PictureFolder,
    VideoWriter,
    Window,
    WindowClosedError,
    open_output,
)

av = pytest.importorskip("av")

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(1, 2)]


def make_picture(index, size=(48, 64)):
    """Red-green-blue: a corner that tells the way up, and a grey that tells the index."""
    picture = np.full((*size, 3), 40 + 8 * index, dtype=np.uint8)
    picture[: size[0] // 2, : size[1] // 2] = (200, 60, 20)
    return picture


def write_video(path, count=6, *, rate=RATES[0], size=(48, 64), seconds=None):
    writer = VideoWriter(path, rate)
    for index in range(count):
        time = 0.0 if seconds is None else seconds[index]
        frame = SourceFrame(f"{index:08d}", np.empty(0), time)
        writer.write(frame, make_picture(index, size))
    writer.close()
    return path


def write_images(folder, names, size=(8, 8)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size[::-1]).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", RATES)
def test_a_video_keeps_count_size_rate_and_colours(tmp_path, rate, suffix):
    video = VideoFile(write_video(tmp_path / f"video{suffix}", rate=rate))
    frames = list(video)
    assert video.rate == rate and len(frames) == 6 and abs(video.num_frames - 6) <= 1
    assert [frame.name for frame in frames] == [f"{index:08d}" for index in range(6)]
    for index, frame in enumerate(frames):
        assert frame.seconds == pytest.approx(float(index / rate), abs=1e-3)
        expected = cv2.cvtColor(make_picture(index), cv2.COLOR_RGB2BGR)
        # Colours share 2x2 pixels and are compressed: inside the areas they are nearly exact.
        for inside in (np.s_[4:20, 4:28], np.s_[28:44, 36:60]):
            assert np.abs(frame.image[inside].astype(int) - expected[inside]).max() <= 6


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (47, 63)])
def test_odd_sides_are_padded_by_a_pixel(tmp_path, size):
    frames = list(VideoFile(write_video(tmp_path / "video.mp4", size=size)))
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)


def test_frames_at_irregular_times_keep_them(tmp_path):
    seconds = [0.0, 0.5, 1.7, 1.8, 1.8, 5.0]  # a pair at once is a millisecond apart
    video = VideoFile(write_video(tmp_path / "video.mp4", rate=None, seconds=seconds))
    assert video.rate is None
    assert [frame.seconds for frame in video] == pytest.approx(seconds, abs=2e-3)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_video_is_turned_as_its_metadata_say(tmp_path, degrees):
    with av.open(tmp_path / "turned.mp4", "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        frame = av.VideoFrame.from_ndarray(make_picture(0), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (turned,) = VideoFile(tmp_path / "turned.mp4")
    _, by_opencv = cv2.VideoCapture(str(tmp_path / "turned.mp4")).read()
    assert turned.image.shape == by_opencv.shape
    assert np.abs(turned.image.astype(int) - by_opencv).mean() < 8


def test_a_second_size_is_an_error_and_the_file_so_far_plays(tmp_path):
    writer = VideoWriter(tmp_path / "video.mp4", RATES[0])
    frame = SourceFrame("the_frame", np.empty(0), 0.0)
    writer.write(frame, make_picture(0))
    with pytest.raises(ValueError, match="the_frame makes a picture of 32x24 .* 64x48"):
        writer.write(frame, make_picture(1, (24, 32)))
    writer.close()
    assert len(list(VideoFile(tmp_path / "video.mp4"))) == 1


def test_without_frames_there_is_no_file(tmp_path):
    VideoWriter(tmp_path / "video.mp4", RATES[0]).close()
    assert not (tmp_path / "video.mp4").exists()


def test_images_come_in_natural_order_under_their_names(tmp_path):
    write_images(tmp_path / "frames", ["f10.png", "f9.jpg", "f1.PNG", ".hidden.png"])
    (tmp_path / "frames" / "notes.txt").write_text("no image")
    folder = tmp_path / "frames"
    for inputs in ([folder], [f"{folder}/*"], [folder / "f10.png", f"{folder}/f[19].*"]):
        source = ImageFiles(inputs, Fraction(4))
        frames = list(source)
        assert [frame.name for frame in frames] == ["f1", "f9", "f10"]
        assert [frame.seconds for frame in frames] == [0, 0.25, 0.5]
        assert source.num_frames == 3 and [file.stem for file in source.files] == [
            "f1",
            "f9",
            "f10",
        ]


def test_images_that_are_no_video_are_errors(tmp_path):
    for folder in ("a", "b"):
        write_images(tmp_path / folder, ["0001.png"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "video.mp4").touch()
    for given, error, message in [
        ("nowhere", FileNotFoundError, "nowhere: there are no images"),
        ("empty", FileNotFoundError, "empty: there are no images"),
        ("*.tiff", FileNotFoundError, "there are no images"),
        ("video.mp4", ValueError, "--video-input"),
        ("?/*.png", ValueError, "0001.png and .*0001.png have the same name"),
    ]:
        with pytest.raises(error, match=message):
            ImageFiles([tmp_path / given])


def test_what_is_no_video_is_an_error(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name, error, message in [
        ("nowhere.mp4", FileNotFoundError, "there is no such file"),
        ("", FileNotFoundError, "is a folder"),
        ("empty.mp4", ValueError, "the file is empty"),
        ("text.mp4", ValueError, "the file is damaged, or something else"),
        ("cut.mp4", ValueError, "is cut off|is damaged"),
    ]:
        with pytest.raises(error, match=message) as raised:
            VideoFile(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_the_suffix_tells_a_video_from_a_folder(tmp_path):
    for name, kind in [
        ("new.mp4", VideoWriter),
        ("new/video.MKV", VideoWriter),
        ("folder", PictureFolder),
        ("folder.mp4/", PictureFolder),
    ]:
        assert type(open_output(f"{tmp_path}/{name}", RATES[0])) is kind
    (tmp_path / "dotted.v2").mkdir()
    assert type(open_output(f"{tmp_path}/dotted.v2", RATES[0])) is PictureFolder


def test_outputs_of_the_other_kind_and_unknown_suffixes_are_errors(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    for name, message in [
        ("folder.mp4", "is a folder, but by its suffix"),
        ("file", "is a file, but a folder"),
        ("video.avi", "unknown suffix .avi. Name a video, .mp4 or .mkv"),
    ]:
        with pytest.raises(ValueError, match=message):
            open_output(f"{tmp_path}/{name}", RATES[0])
    with pytest.raises(ValueError, match="256 classes at most"):
        LabelMapFolder(tmp_path / "masks", [(0, 0, 0)] * 257)


def test_pyav_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match="pip install av"):
        open_output(str(tmp_path / "video.mp4"), RATES[0])


class FakeCamera:
    """Three frames, then it stops."""

    def __init__(self, camera_id):
        self.opened = camera_id == 0
        self.left = 3

    def isOpened(self):  # noqa: N802
        return self.opened

    def set(self, key, value):
        pass

    def read(self):
        self.left -= 1
        return self.left >= 0, np.zeros((4, 6, 3), dtype=np.uint8)

    def release(self):
        self.opened = False


def test_a_camera_gives_frames_with_their_times_until_it_stops(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    camera, frames = Webcam(0), []
    assert camera.rate is None and camera.num_frames is None
    with pytest.raises(OSError, match="Camera 0 gives no more frames"):
        for frame in camera:
            frames.append(frame)
    assert [frame.name for frame in frames] == ["00000000", "00000001", "00000002"]
    assert frames[0].seconds < 0.1 and sorted(f.seconds for f in frames) == [
        f.seconds for f in frames
    ]


def test_a_camera_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with pytest.raises(OSError, match="Camera 3 can't be opened"):
        Webcam(3)


def test_a_window_needs_a_display_and_an_opencv_with_windows(monkeypatch):
    def without_windows(*args):
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", without_windows)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(OSError, match="no display.*Write a file"):
        Window("Write a file.")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(OSError, match="headless.*Write a file"):
        Window("Write a file.")


def test_a_window_shows_pictures_until_escape(monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *args: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: 27 if len(shown) == 2 else -1)
    window, frame = Window("Write a file."), SourceFrame("0", np.empty(0), 0.0)
    window.write(frame, make_picture(0))
    with pytest.raises(WindowClosedError):
        window.write(frame, make_picture(1))
    assert shown[0][0, 0].tolist() == [20, 60, 200]  # OpenCV's order
