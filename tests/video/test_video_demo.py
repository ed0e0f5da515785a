"""VideoDemo with a segmentor whose answers are known."""

import signal
from fractions import Fraction

import numpy as np
import pytest
import torch
from tiny_dataset import TINY_COLORS

from cffm_plugin.video.reading import SourceFrame, VideoFile
from cffm_plugin.video.video_demo import VideoDemo
from cffm_plugin.video.writing import VideoWriter, WindowClosedError

CLASSES = [(f"class {k}", color) for k, color in enumerate(TINY_COLORS)]
RATE = Fraction(25)


class FakeSegmentor:
    """The left half is class 0 and the right half class 2, with a probability of 0.6 and 0.9."""

    def __init__(self):
        self.outputs = []

    def reset(self):
        pass

    def step(self, image, output="labels", prototypes=None, channel_order="BGR"):
        self.outputs.append(output)
        height, width = image.shape[:2]
        probabilities = torch.full((4, height, width), 0.1 / 3)
        probabilities[0, :, : width // 2] = 0.6
        probabilities[2, :, width // 2 :] = 0.9
        if output == "probabilities":
            return probabilities
        return probabilities.argmax(dim=0).to(torch.uint8)


class FakeSource:
    """Grey frames, 320x240; after ``count`` of them, an error."""

    num_frames = None
    rate = RATE
    files = ()

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        for index in range(self.count):
            yield SourceFrame(str(index), np.full((240, 320, 3), 100, np.uint8), index / 10)
        raise ValueError("the file is damaged")


@pytest.mark.parametrize(
    "threshold, listed", [(0, {0, 2}), (0.5, {0, 2}), (0.8, {2}), (0.95, set())]
)
def test_below_the_threshold_pixels_stay_and_the_legend_has_the_classes_shown(threshold, listed):
    segmentor = FakeSegmentor()
    demo = VideoDemo(segmentor, CLASSES, confidence_threshold=threshold)
    image = np.full((240, 320, 3), 100, dtype=np.uint8)
    labels, shown = demo.segment(image)
    picture = demo.paint(image, labels, shown)
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, 2}
    # Probabilities cost a map of all classes at full resolution.
    assert segmentor.outputs == ["probabilities" if threshold else "labels"]
    for k, column in ((0, 40), (2, 200)):
        half = [round(0.5 * 100 + 0.5 * channel) for channel in TINY_COLORS[k]]
        assert picture[10, column].tolist() == (half if k in listed else [100] * 3)
    in_legend = {k for k in range(4) if (picture == TINY_COLORS[k]).all(axis=2).any()}
    assert in_legend == listed


def test_after_an_error_in_the_middle_the_file_so_far_plays(tmp_path):
    pytest.importorskip("av")
    demo = VideoDemo(FakeSegmentor(), CLASSES)
    with pytest.raises(ValueError, match="the file is damaged"):
        demo.run(FakeSource(5), VideoWriter(tmp_path / "out.mp4", RATE))
    assert len(list(VideoFile(tmp_path / "out.mp4"))) == 5


def test_ctrl_c_works_as_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError):
        VideoDemo(FakeSegmentor(), CLASSES).run(FakeSource(0))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_closed_window_ends_the_run_without_an_error():
    class ClosedAfterTwo:
        pictures = 0

        def write(self, frame, picture):
            self.pictures += 1
            if self.pictures == 3:
                raise WindowClosedError

        def close(self):
            self.pictures = 0

    window = ClosedAfterTwo()
    assert VideoDemo(FakeSegmentor(), CLASSES).run(FakeSource(5), window) == (2, None)
    assert window.pictures == 0
