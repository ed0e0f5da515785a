"""Videos that hold fewer frames than they promise, and those that only look like it."""

from fractions import Fraction

import numpy as np
import pytest

from cffm_plugin.video.decoding import IncompleteVideoError
from cffm_plugin.video.reading import SourceFrame, VideoFile
from cffm_plugin.video.writing import VideoWriter

av = pytest.importorskip("av")
NOISE = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)


def write_noise(path, *, rate=Fraction(25), seconds=None, options=None, codec="libx264"):
    """40 frames; noise, so that bytes are spread evenly over time."""
    if options is None and codec == "libx264":
        writer = VideoWriter(path, rate)
        for index, picture in enumerate(NOISE):
            time = index / 25 if seconds is None else seconds[index]
            writer.write(SourceFrame(str(index), picture, time), picture)
        writer.close()
        return path
    with av.open(path, "w", options=options or {}) as container:
        stream = container.add_stream(codec, 25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for picture in NOISE:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path):
    """The number of frames, and the error after them."""
    count = 0
    try:
        for _ in VideoFile(path):
            count += 1
    except IncompleteVideoError as error:
        return count, str(error)
    return count, None


def cut(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


FAST_START = {"movflags": "faststart"}


@pytest.mark.parametrize(
    "name, how",
    [
        ("a.mkv", {}),
        ("a.mp4", {"options": FAST_START}),
        ("a.avi", {"codec": "mpeg4"}),
        ("irregular.mkv", {"rate": None, "seconds": [(k / 20) ** 2 for k in range(40)]}),
    ],
)
def test_a_video_that_is_cut_off_gives_its_frames_and_says_so(tmp_path, name, how):
    path = write_noise(tmp_path / name, **how)
    assert read(path) == (40, None)
    count, said = read(cut(path))
    assert 10 <= count < 30
    assert f"{name}: incomplete: {count} frames came of about " in said and "\n" not in said


def test_a_damaged_packet_is_left_out_and_the_rest_is_read(tmp_path):
    path = write_noise(tmp_path / "a.mp4")
    data = path.read_bytes()
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    packet = packets[20]
    path.write_bytes(data[: packet.pos] + bytes(packet.size) + data[packet.pos + packet.size :])
    count, said = read(path)
    assert 35 <= count < 40 and "damaged packets: 1" in said


def test_sound_that_is_longer_than_the_pictures_is_no_damage(tmp_path):
    for name in ("a.mkv", "a.mp4"):
        with av.open(tmp_path / name, "w") as container:
            stream = container.add_stream("libx264", 25)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            sound = container.add_stream("flac", 48000, layout="mono", format="s16")
            for picture in NOISE[:10]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
            for index in range(30):  # 3 seconds, where the pictures take 0.4
                samples = np.zeros((1, 4800), dtype=np.int16)
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 48000, index * 4800
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        assert read(tmp_path / name) == (10, None)


def test_a_recording_that_begins_between_key_frames_is_no_damage(tmp_path):
    path = write_noise(tmp_path / "a.ts", options={})
    data = path.read_bytes()
    whole = read(path)
    assert whole == (40, None)
    with av.open(path) as container:
        second = [packet for packet in container.demux(video=0) if packet.size][1]
    table = data[: 188 * 3]  # the programme's tables come first
    path.write_bytes(table + data[second.pos :])
    try:
        count, said = read(path)
    except ValueError:  # no frame can be decoded at all
        return
    assert said is None and count < 40
