"""Every frame keeps its time, whatever the container says of a rate."""

from fractions import Fraction

import numpy as np
import pytest
from video_files import as_quarters, write_video

from cffm_plugin.video.decoding import IncompleteVideoError
from cffm_plugin.video.reading import VideoFile
from cffm_plugin.video.writing import open_output

av = pytest.importorskip("av")

# Milliseconds, as a telephone's in changing light: no rate, with gaps of 20 to 400.
IRREGULAR = [0, 40, 60, 120, 160, 560, 600, 620, 680, 720, 800, 840]
# 30 a second, of which frames were lost: their mean is within 3 % of 30.
LOST = [round(1000 * index / 30) for index in range(60) if index not in (20, 21, 40)]


def times_of(path):
    return [frame.seconds for frame in VideoFile(path)]


def seconds(milliseconds):
    return pytest.approx([time / 1000 for time in milliseconds], abs=1.5e-3)


def rewritten(path, target):
    """Write a video's frames as cffm demo does."""
    video = VideoFile(path)
    writer = open_output(str(target), video.rate, keep_times=True)
    for frame in video:
        writer.write(frame, np.ascontiguousarray(frame.image[..., ::-1]))
    writer.close()
    return target


def copied(path, target, rate=None):
    """The same packets in another container, whose times may be multiples of a rate's."""
    with av.open(path) as source, av.open(target, "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        if rate is not None:
            stream.time_base = Fraction(1, rate)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv"])
@pytest.mark.parametrize("times", [IRREGULAR, LOST])
def test_times_are_kept_in_every_container_and_every_output(tmp_path, times, suffix):
    pictures = [as_quarters()] * len(times)
    made = write_video(tmp_path / "made.mp4", pictures, times=times)
    path = copied(made, tmp_path / f"copy{suffix}")
    assert times_of(path) == seconds(times)
    for output in (".mp4", ".mkv"):
        assert times_of(rewritten(path, tmp_path / f"out{output}")) == seconds(times)


def test_an_irregular_rate_is_no_rate_also_where_the_header_states_one(tmp_path):
    made = write_video(tmp_path / "a.mp4", [as_quarters()] * len(IRREGULAR), times=IRREGULAR)
    for suffix in (".mkv", ".ts"):
        video = VideoFile(copied(made, tmp_path / f"b{suffix}"))
        assert video.rate is None and abs(video.num_frames - len(IRREGULAR)) <= 1


def test_times_of_b_frames_in_avi_do_not_go_back(tmp_path):
    """AVI has no presentation times, and those that are guessed for H.264 may go back and forth.

    Of the last frames, as many as the coded order is ahead, AVI does not hold the times.
    """
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in IRREGULAR]
    made = write_video(tmp_path / "a.ts", pictures, times=IRREGULAR, options={"bf": "2"})
    path = copied(made, tmp_path / "b.avi", rate=50)
    found = times_of(path)
    assert len(found) == len(IRREGULAR) and found == sorted(found)
    assert found[:-2] == seconds(IRREGULAR[:-2])


def test_times_that_begin_anew_go_on(tmp_path):
    """Two recordings in one file, one after another, as cameras that restart write them."""
    times = [0, 500, 1000, 1500, 2000]
    first = write_video(tmp_path / "a.ts", [as_quarters()] * 5, times=times).read_bytes()
    (tmp_path / "both.ts").write_bytes(first + first)
    found = []
    with pytest.raises(IncompleteVideoError, match="10 frames came"):  # packets are out of count
        for frame in VideoFile(tmp_path / "both.ts"):
            found.append(frame.seconds)
    assert len(found) == 10 and found == sorted(found)
    assert np.diff(found) == pytest.approx(0.5, abs=0.01)


def test_frames_without_times_come_at_the_headers_rate(tmp_path):
    path = write_video(tmp_path / "raw.h264", [as_quarters()] * 5)
    assert times_of(path) == pytest.approx([index / 25 for index in range(5)])


def test_a_forced_rate_is_even(tmp_path):
    path = write_video(tmp_path / "a.mp4", [as_quarters()] * len(IRREGULAR), times=IRREGULAR)
    writer = open_output(str(tmp_path / "out.mp4"), Fraction(10))
    for frame in VideoFile(path):
        writer.write(frame, np.ascontiguousarray(frame.image[..., ::-1]))
    writer.close()
    even = [100 * index for index in range(len(IRREGULAR))]
    assert times_of(tmp_path / "out.mp4") == seconds(even)
