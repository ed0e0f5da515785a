"""Video as it is shown: the right stream, the right way up, in the right colours."""

import logging
import sys
import types
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from video_files import RGB, as_quarters, write_video

from cffm_plugin.video.decoding import import_av
from cffm_plugin.video.reading import VideoFile, open_images
from cffm_plugin.video.writing import open_output

av = pytest.importorskip("av")
bitstream = pytest.importorskip("av.bitstream")

ONE = 1 << 16
BT2020_OF_BT709 = np.array(  # linear light, ITU-R BT.2087
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
SKIN = np.array([0.8, 0.6, 0.5])  # of BT.709, as a display of gamma 2.4 shows it


def colour_of(video, **options):
    """Red-green-blue of the middle of the first frame."""
    (first, *_) = VideoFile(video, **options)
    height, width, _ = first.image.shape
    return first.image[height // 2, width // 2, ::-1].astype(int)


def orientations():
    """(a, b, c, d) of a matrix that takes (x, y) to (ax + cy, bx + dy)."""
    for sign_x in (1, -1):
        for sign_y in (1, -1):
            yield sign_x, 0, 0, sign_y
            yield 0, sign_x, sign_y, 0


def placed(picture, a, b, c, d):
    """Every pixel of (H, W, 3) where the matrix takes it."""
    height, width, _ = picture.shape
    y, x = np.mgrid[:height, :width]
    right, down = a * x + c * y, b * x + d * y
    shown = np.empty((np.ptp(down) + 1, np.ptp(right) + 1, 3), dtype=np.uint8)
    shown[down - down.min(), right - right.min()] = picture
    return shown


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("signs", orientations())
def test_all_eight_orientations_of_a_container_are_shown(tmp_path, signs, suffix):
    a, b, c, d = (ONE * sign for sign in signs)
    matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    path = write_video(tmp_path / f"turned{suffix}", [as_quarters()], matrix=matrix)
    (frame,) = VideoFile(path)
    expected = placed(as_quarters(), *signs)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image[..., ::-1].astype(int) - expected).mean() < 8


@pytest.mark.parametrize("flip, shown", [("horizontal", np.fliplr), ("vertical", np.flipud)])
def test_mirrors_that_the_coded_video_states_are_shown(tmp_path, flip, shown):
    sei = f"h264_metadata=display_orientation=insert:flip={flip}"
    path = write_video(tmp_path / "mirrored.ts", [as_quarters()], bitstream_filter=sei)
    (frame,) = VideoFile(path)
    assert np.abs(frame.image[..., ::-1].astype(int) - shown(as_quarters())).mean() < 8


def bt2020_frame(rgb, curve):
    """A frame of one colour: non-linear R'G'B', 0..1, to 10-bit Y'CbCr of BT.2020's matrix."""
    red, green, blue = rgb
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = (
        64 + 876 * luma,
        512 + 896 * (blue - luma) / 1.8814,
        512 + 896 * (red - luma) / 1.4746,
    )
    frame = av.VideoFrame(64, 48, "yuv420p10le")
    for plane, value in zip(frame.planes, planes):
        count = plane.height * plane.line_size // 2
        plane.update(np.full(count, round(value), dtype=np.uint16).tobytes())
    frame.colorspace, frame.color_range = 9, 1
    frame.color_primaries, frame.color_trc = 9, curve
    return frame


def pq(light):
    """SMPTE ST 2084, of cd/m2."""
    y = (np.asarray(light) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(light):
    """ITU-R BT.2100's HLG of the light of a display of 1000 cd/m2, whose system gamma is 1.2."""
    light = np.asarray(light) / 1000
    scene = light * (light @ [0.2627, 0.6780, 0.0593]) ** (1 / 1.2 - 1)
    return 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073  # above 1/12


# The display that a film was made on. Its brightest light is not this video's white.
MASTERING = (
    "pools=none:frame-threads=1:log-level=none:hdr10=1:max-cll=1000,400:master-display="
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)


@pytest.mark.parametrize(
    "kind, curve, number, coded_by",
    [
        (
            "HDR (PQ) in BT.2020",
            pq,
            16,
            {"codec": "libx265", "options": {"x265-params": MASTERING}},
        ),
        ("HDR (HLG) in BT.2020", hlg, 18, {}),
        ("BT.2020", lambda light: (np.asarray(light) / 203) ** (1 / 2.4), 14, {}),
    ],
)
def test_hdr_and_wide_gamuts_are_mapped_to_bt709_once_said(
    tmp_path, caplog, kind, curve, number, coded_by
):
    light = 203 * BT2020_OF_BT709 @ SKIN**2.4  # of HDR's white: 203 cd/m2, ITU-R BT.2408
    coded = curve(light)
    frames = [bt2020_frame(coded, number) for _ in range(2)]
    video = write_video(tmp_path / "a.mp4", frames=frames, pix_fmt="yuv420p10le", **coded_by)
    with av.open(video) as container:
        kinds = {side.type.name for side in next(container.decode(video=0)).side_data}
    assert ("MASTERING_DISPLAY_METADATA" in kinds) == bool(coded_by)
    caplog.set_level(logging.INFO)
    assert np.abs(colour_of(video, map_colors=False) - 255 * coded).max() <= 4
    assert "mapped" not in caplog.text
    assert np.abs(colour_of(video) - 255 * SKIN).max() <= 4
    assert caplog.text.count(f"a.mp4: {kind} is mapped to BT.709") == 1


@pytest.mark.parametrize("curve, number", [(pq, 16), (hlg, 18)])
def test_hdr_that_states_its_curve_alone_is_of_bt2100(tmp_path, curve, number):
    """Read by BT.601's matrix and BT.709's primaries, skin would be off by 19."""
    coded = curve(203 * BT2020_OF_BT709 @ SKIN**2.4)
    frame = bt2020_frame(coded, number)
    frame.colorspace = frame.color_primaries = 2
    video = write_video(tmp_path / "a.mp4", frames=[frame], pix_fmt="yuv420p10le")
    with av.open(video) as container:
        stated = next(container.decode(video=0))
    assert (stated.colorspace, stated.color_primaries, stated.color_trc) == (2, 2, number)
    assert np.abs(colour_of(video, map_colors=False) - 255 * coded).max() <= 4
    assert np.abs(colour_of(video) - 255 * SKIN).max() <= 4


def test_ordinary_video_keeps_its_bits_and_red_of_bt709_is_red(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    path = write_video(tmp_path / "video.mp4", pictures)
    with av.open(path) as container:
        decoded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for frame, expected in zip(VideoFile(path), decoded, strict=True):
        np.testing.assert_array_equal(frame.image, expected)
    path = write_video(tmp_path / "red.mp4", [np.full((48, 64, 3), RGB[0], np.uint8)])
    assert np.abs(colour_of(path) - RGB[0]).max() <= 2


@pytest.mark.parametrize(
    "codec, suffix", [("libx265", ".mp4"), ("libvpx-vp9", ".webm"), ("libx264", ".mkv")]
)
def test_colours_that_only_the_container_states_are_those_of_the_frames(tmp_path, codec, suffix):
    """A decoder forgets BT.709: pure red would be read as (232, 0, 1)."""
    red = np.full((64, 64, 3), (255, 0, 0), dtype=np.uint8)
    quiet = "log-level=none:pools=none:frame-threads=1"
    options = {"x265-params": quiet} if codec == "libx265" else {}
    untagged = write_video(tmp_path / "a.mkv", [red], codec=codec, options=options, matrix_709=True)
    tagged = tmp_path / f"b{suffix}"
    with av.open(untagged) as source, av.open(tagged, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.colorspace = stream.color_primaries = stream.color_trc = 1
        stream.color_range = 1
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert np.abs(colour_of(tagged) - (255, 0, 0)).max() <= 2


def test_colours_that_cannot_be_converted_are_an_error_that_says_what_to_do(tmp_path):
    path = write_video(tmp_path / "ycgco.mkv", [as_quarters()], colorspace=8)
    with pytest.raises(ValueError, match=r"ycgco.mkv: the colours .*\(matrix 8.*ffmpeg -i"):
        list(VideoFile(path))


def two_streams(path, kinds):
    """A file of streams, each of one grey: (codec, side, grey, number of frames, default)."""
    with av.open(path, "w") as container:
        streams = []
        for codec, side, grey, count, is_default in kinds:
            stream = container.add_stream(codec, 25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = av.stream.Disposition(int(is_default))
            streams.append((stream, np.full((side, side, 3), grey, np.uint8), count))
        for stream, picture, count in streams:
            for _ in range(count):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "kinds, suffixes",
    [
        ([("libx264", 64, 40, 3, False), ("libx264", 32, 200, 3, True)], "mp4 mkv"),  # the default
        ([("libx264", 32, 40, 3, False), ("libx264", 64, 200, 3, False)], "mkv ts"),  # the larger
        ([("libx264", 32, 40, 3, True), ("libx264", 64, 200, 3, True)], "mp4 mkv"),
        ([("mjpeg", 128, 40, 1, True), ("libx264", 32, 200, 3, False)], "mp4 mkv"),  # no cover
        ([("mjpeg", 64, 200, 3, True), ("libx264", 32, 40, 3, False)], "mp4 mov avi"),  # a camera's
    ],
)
def test_the_stream_that_a_player_shows_is_read(tmp_path, kinds, suffixes):
    for suffix in suffixes.split():
        frames = list(VideoFile(two_streams(tmp_path / f"two.{suffix}", kinds)))
        assert len(frames) == 3 and abs(frames[0].image.mean() - 200) < 4


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png", ".avif"])
def test_an_animation_is_a_video_of_all_its_pictures_and_times(tmp_path, suffix):
    if suffix == ".avif" and not Image.registered_extensions().get(".avif"):
        pytest.skip("this Pillow writes no AVIF")
    greys, milliseconds = [40, 90, 140, 190], [100, 40, 200, 60]
    path = tmp_path / f"moving{suffix}"
    first, *others = (Image.new("RGB", (64, 48), (grey,) * 3) for grey in greys)
    first.save(path, save_all=True, append_images=others, duration=milliseconds)
    for source in (open_images([path]), VideoFile(path)):
        frames = list(source)
        assert [frame.name for frame in frames] == [f"{i:08d}" for i in range(4)]
        assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.14, 0.34], abs=1e-3)
        assert [frame.image.mean() for frame in frames] == pytest.approx(greys, abs=3)
    assert open_images([path]).rate is None


def test_an_animation_is_refused_by_its_size(tmp_path):
    first, second = (Image.new("RGB", (64, 48), grey) for grey in ("black", "white"))
    for name in ("a.webp", "a.png"):
        first.save(tmp_path / name, save_all=True, append_images=[second], duration=40)
        with pytest.raises(ValueError, match=f"{name}: frames of 64x48 .* the limit is 3000"):
            open_images([tmp_path / name], max_megapixels=0.003)


def test_an_old_pyav_is_an_error_that_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", types.SimpleNamespace(__version__="17.1.0"))
    with pytest.raises(ImportError, match="PyAV 18 or newer, and 17.1.0.*pip install 'av>=18'"):
        import_av()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "matrix, expected", [(None, Fraction(4, 3)), ((0, 1, -1, 0), Fraction(3, 4))]
)
def test_pixels_are_written_as_wide_as_they_were(tmp_path, suffix, matrix, expected):
    if matrix is not None:  # turned by a quarter: wide pixels are high ones
        a, b, c, d = (ONE * sign for sign in matrix)
        matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    path = write_video(
        tmp_path / "wide.mp4", [as_quarters()] * 2, pixel_aspect=Fraction(4, 3), matrix=matrix
    )
    video = VideoFile(path)
    writer = open_output(str(tmp_path / f"out{suffix}"), video.rate, keep_times=True)
    for frame in video:
        writer.write(frame, np.ascontiguousarray(frame.image[..., ::-1]))
    writer.close()
    with av.open(tmp_path / f"out{suffix}") as container:
        assert container.streams.video[0].sample_aspect_ratio == expected
