"""A video through the image segmentor and the video segmentor at once; animations."""

from fractions import Fraction

import numpy as np
import pytest
from detectron2.modeling import build_model
from PIL import Image, ImageSequence
from tiny_models import build_varied

from cffm_plugin.inference import StreamingSegmentor
from cffm_plugin.video.animation import AnimationWriter
from cffm_plugin.video.decoding import IncompleteVideoError
from cffm_plugin.video.reading import SourceFrame
from cffm_plugin.video.side_by_side import IMAGE, VIDEO, SideBySide

CLASSES = [("a", (250, 0, 0)), ("b", (0, 250, 0)), ("c", (0, 0, 250)), ("d", (90, 90, 90))]
SIZE = 48, 64


class Kept:
    """A place for pictures."""

    def __init__(self):
        self.pictures, self.closed = [], 0

    def write(self, frame, picture):
        self.pictures.append(picture)

    def close(self):
        self.closed += 1


@pytest.fixture
def model(tiny_cffm_cfg):
    return build_varied(tiny_cffm_cfg)


@pytest.fixture
def both(tiny_cffm_cfg, model):
    return SideBySide(StreamingSegmentor(tiny_cffm_cfg, model), CLASSES)


def make_frames(count):
    rng = np.random.default_rng(1)
    return [
        SourceFrame(f"{i:08d}", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), i / 10)
        for i in range(count)
    ]


def test_the_image_segmentor_is_the_model_on_one_frame_and_the_other_the_stream(
    tiny_cffm_cfg, model, both
):
    stream, alone = (StreamingSegmentor(tiny_cffm_cfg, model) for _ in range(2))
    for frame in make_frames(6):
        labels = both.segment(frame.image)
        alone.reset()
        for name, segmentor in ((VIDEO, stream), (IMAGE, alone)):
            expected = segmentor.step(frame.image, channel_order="BGR").numpy()
            assert np.array_equal(labels[name], expected)
    assert (labels[IMAGE] != labels[VIDEO]).any()  # by the last frame there is a past


def test_changed_pixels_are_counted_between_neighbouring_frames(both):
    frames = make_frames(5)
    kept = Kept()
    counts = []
    result = both.run(frames, kept, counts.append)
    maps = [both.segment(frame.image) for frame in frames]
    for name in (IMAGE, VIDEO):
        shares = [(a[name] != b[name]).mean() for a, b in zip(maps, maps[1:])]
        assert result.changed[name] == pytest.approx(np.mean(shares))
    assert result.num_frames == 5 and counts == [1, 2, 3, 4, 5]
    assert kept.closed == 1 and {p.shape for p in kept.pictures} == {kept.pictures[0].shape}
    still = both.run([frames[0]] * 3, Kept())
    assert still.changed[IMAGE] == 0  # of the image segmentor, which is a function of the frame


def test_both_halves_hold_the_frame_under_their_own_labels(both):
    frame = make_frames(1)[0]
    labels = {IMAGE: np.zeros(SIZE, dtype=np.uint8), VIDEO: np.full(SIZE, 1, dtype=np.uint8)}
    picture = both.paint(frame.image, labels)
    strip = picture.shape[0] - SIZE[0]
    left, right = (picture[strip:, x : x + SIZE[1]].astype(int) for x in (0, SIZE[1]))
    image = frame.image[:, :, ::-1].astype(int)
    assert np.abs(left - (image + CLASSES[0][1]) / 2).max() <= 1
    assert np.abs(right - (image + CLASSES[1][1]) / 2).max() <= 1
    assert picture.shape[1] > 2 * SIZE[1]  # the legend


def test_an_incomplete_video_gives_what_came(both):
    def cut():
        yield from make_frames(3)
        raise IncompleteVideoError("half.mp4: incomplete")

    kept = Kept()
    result = both.run(cut(), kept)
    assert (result.num_frames, len(kept.pictures), kept.closed) == (3, 3, 1)
    assert result.incomplete == "half.mp4: incomplete"


def test_an_error_closes_the_pictures_and_forgets_the_stream(both):
    def stop(count):
        raise KeyboardInterrupt

    kept = Kept()
    with pytest.raises(KeyboardInterrupt):
        both.run(make_frames(3), kept, stop)
    assert kept.closed == 1
    first = make_frames(1)[0].image
    labels = both.segment(first)
    assert np.array_equal(labels[IMAGE], labels[VIDEO])  # a first frame again


def test_a_model_without_a_temporal_module_is_refused(tiny_cffm_cfg):
    tiny_cffm_cfg.MODEL.TEMPORAL.ENABLED = False
    stream = StreamingSegmentor(tiny_cffm_cfg, build_model(tiny_cffm_cfg))
    with pytest.raises(ValueError, match=r"MODEL\.TEMPORAL\.ENABLED False"):
        SideBySide(stream, CLASSES)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_an_animation_has_all_pictures_in_order_at_its_rate(tmp_path, suffix):
    with pytest.raises(ValueError, match=r"\.webp, \.gif"):
        AnimationWriter(tmp_path / "a.png", 10)
    writer = AnimationWriter(tmp_path / f"moving{suffix}", float(Fraction(10)), width=32)
    for i, value in enumerate((10, 120, 240)):
        frame = SourceFrame(f"{i}", np.zeros((1, 1, 3), np.uint8), i / 10)
        writer.write(frame, np.full((40, 64, 3), value, np.uint8))
    writer.close()
    with Image.open(tmp_path / f"moving{suffix}") as animation:
        assert animation.info.get("loop") == 0
        frames = []
        for picture in ImageSequence.Iterator(animation):
            frames.append(np.array(picture.convert("L")).mean())
            assert picture.size == (32, 20) and picture.info["duration"] == 100
    assert frames == pytest.approx([10, 120, 240], abs=3)
