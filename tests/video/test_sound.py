"""Sound is copied, in time with the pictures."""

from fractions import Fraction

import numpy as np
import pytest

from cffm_plugin.video.reading import VideoFile
from cffm_plugin.video.writing import open_output

av = pytest.importorskip("av")
RATE = 48000


def write_flash(path, codec="aac", *, seconds=2.0, late=0.0):
    """25 pictures a second for two seconds; at 1 s they turn white and a tone of 440 Hz begins.

    Args:
        seconds: that the sound takes.
        late: by how much pictures begin after the sound; both events move with them.
    """
    time = np.arange(int(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * 440 * time) * (time >= 1 + late)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, RATE, layout="mono")
        for index in range(50):
            picture = np.full((48, 64, 3), 255 * (index >= 25), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index + round(late * 25), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        samples = (tone[None] * 20000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        size = sound.codec_context.frame_size or 1024
        resampler = av.AudioResampler(sound.codec_context.format, "mono", RATE, size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


def copied(source, target, count=None):
    """Write a video's first pictures, as they are, with its sound."""
    video = VideoFile(source)
    writer = open_output(str(target), video.rate, video)
    for index, frame in enumerate(video):
        if index == count:
            break
        writer.write(frame, np.ascontiguousarray(frame.image))
    writer.close()
    return target


def heard(path):
    """Codec; when the tone begins and the sound ends, in seconds since the first picture."""
    start = VideoFile(path).start
    began, end = None, 0.0
    with av.open(path) as container:
        codec = container.streams.audio[0].codec_context.name
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float).ravel()
            samples /= 20000 if frame.format.name.startswith("s16") else 20000 / 32768
            loud = np.flatnonzero(np.abs(samples) > 0.3)
            if began is None and len(loud):
                began = frame.time + loud[0] / RATE - start
            end = frame.time + frame.samples / RATE - start
    return codec, began, end


def flash(path):
    return next(frame.seconds for frame in VideoFile(path) if frame.image.mean() > 128)


@pytest.mark.parametrize(
    "name, codec, suffix",
    [
        ("in.mp4", "aac", ".mp4"),
        ("in.mp4", "aac", ".mkv"),
        ("in.mkv", "aac", ".mp4"),
        ("in.ts", "aac", ".mp4"),
        ("in.ts", "aac", ".mkv"),
        ("in.mkv", "pcm_s16le", ".mkv"),
        ("in.mkv", "flac", ".mp4"),
    ],
)
@pytest.mark.parametrize("late", [0.0, 0.4])
def test_sound_is_copied_in_time_with_the_pictures(tmp_path, name, codec, suffix, late):
    source = write_flash(tmp_path / name, codec, late=late, seconds=2 + late)
    out = copied(source, tmp_path / f"out{suffix}")
    kept, began, end = heard(out)
    assert kept == codec
    assert flash(out) == pytest.approx(1, abs=0.01) and began == pytest.approx(1, abs=0.03)
    assert end == pytest.approx(2, abs=0.05)
    assert len(list(VideoFile(out))) == 50


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_ends_with_the_last_picture(tmp_path, suffix):
    source = write_flash(tmp_path / "in.mp4", seconds=4)
    assert heard(copied(source, tmp_path / f"all{suffix}"))[2] == pytest.approx(2, abs=0.05)
    early = copied(source, tmp_path / f"early{suffix}", count=10)
    assert heard(early)[2] == pytest.approx(0.4, abs=0.05)
    assert len(list(VideoFile(early))) == 10


def test_what_the_container_does_not_take_is_an_error_at_once(tmp_path):
    source = write_flash(tmp_path / "in.mov", "pcm_mulaw")
    with pytest.raises(
        ValueError, match=r"its sound \(pcm_mulaw\) can't be copied into a .mp4 file"
    ):
        open_output(str(tmp_path / "out.mp4"), Fraction(25), VideoFile(source))
    with pytest.raises(ValueError, match="can't keep audio"):
        open_output(str(tmp_path / "folder"), Fraction(25), VideoFile(source))
    assert not (tmp_path / "out.mp4").exists()
