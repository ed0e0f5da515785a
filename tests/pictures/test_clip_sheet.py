"""A clip on one sheet."""

import numpy as np
import pytest
import torch

from cffm_plugin.pictures.clip_sheet import clip_sheet

CLASSES = [("sky", (0, 0, 250)), ("road", (250, 0, 0))]
SIZE = 160, 200  # as large as a frame that is neither enlarged nor shrunk


def make_clip(values, labels, **more):
    """Frames of one grey each, label maps of one class each (None for none)."""
    return {
        "image": [torch.full((3, *SIZE), value, dtype=torch.uint8) for value in values],
        "sem_seg": [None if k is None else torch.full(SIZE, k) for k in labels],
        **more,
    }


def colors_in(sheet):
    pixels = np.array(sheet).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(v.tolist()): n for v, n in zip(values, counts)}


def columns_of(sheet, color):
    """The mean column of the pixels of a colour."""
    return np.argwhere((np.array(sheet) == color).all(-1))[:, 1].mean()


def test_frames_stand_in_the_order_of_the_clip_each_whole():
    greys = [(40,) * 3, (90,) * 3, (140,) * 3]
    sheet = clip_sheet(make_clip([40, 90, 140], [None] * 3), CLASSES)
    columns = [columns_of(sheet, grey) for grey in greys]
    assert columns == sorted(columns)
    for grey in greys:
        assert colors_in(sheet)[grey] >= SIZE[0] * SIZE[1]


def test_labels_are_painted_in_their_colours_and_named_in_the_legend():
    with_road = clip_sheet(make_clip([0], [1]), CLASSES)
    painted = tuple(round(0.7 * channel) for channel in CLASSES[1][1])
    assert colors_in(with_road)[painted] == SIZE[0] * SIZE[1]
    assert CLASSES[1][1] in colors_in(with_road)  # the legend's square
    assert CLASSES[0][1] not in colors_in(with_road)


def test_void_is_striped_and_not_the_colour_of_a_class():
    """Also where a class is black."""
    classes = [("black", (0, 0, 0)), ("road", (250, 0, 0))]
    void = np.array(clip_sheet(make_clip([90], [255]), classes))
    black = np.array(clip_sheet(make_clip([90], [0]), classes))
    middle = void.shape[0] - 120, void.shape[1] - 100  # in the label map
    patch = np.s_[middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8]
    assert set(np.unique(void[patch])) == {0, 255}
    assert len(np.unique(black[patch])) == 1


def test_a_row_of_predictions_is_below_the_labels_and_may_have_gaps():
    clip = make_clip([90, 90], [0, 0])
    prediction = np.ones(SIZE, dtype=np.int64)
    without = clip_sheet(clip, CLASSES)
    sheet = clip_sheet(clip, CLASSES, predictions={"model": [None, prediction]})
    assert sheet.height > without.height + SIZE[0] - 1
    painted = tuple(round(0.3 * 90 + 0.7 * channel) for channel in CLASSES[1][1])
    assert colors_in(sheet)[painted] == SIZE[0] * SIZE[1]
    rows = np.argwhere((np.array(sheet) == painted).all(-1))[:, 0]
    assert rows.min() > without.height - 60  # below the rows that were there


def test_small_frames_are_enlarged_and_large_ones_shrunk():
    small = {"image": [torch.full((3, 20, 30), 90)], "sem_seg": [None]}
    large = {"image": [torch.full((3, 600, 900), 90)], "sem_seg": [None]}
    assert colors_in(clip_sheet(small, CLASSES))[(90,) * 3] >= 160 * 100
    assert clip_sheet(large, CLASSES).width < 600
    with pytest.raises(ValueError, match="2 frames"):
        clip_sheet(make_clip([1, 2], [0, 0]), CLASSES, predictions={"model": [None]})


def test_channels_are_shown_in_the_order_that_the_model_takes():
    clip = {"image": [torch.zeros(3, *SIZE)], "sem_seg": [None]}
    clip["image"][0][0] = 200.4
    assert (200, 0, 0) in colors_in(clip_sheet(clip, CLASSES, image_format="RGB"))
    assert (0, 0, 200) in colors_in(clip_sheet(clip, CLASSES, image_format="BGR"))


def test_titles_say_video_frame_and_offset():
    """Each of them changes the sheet where it is all that differs."""
    names = {"video_id": "walk", "file_names": ["a/1.png", "a/4.png"], "frame_indices": [1, 4]}
    sheets = [
        np.array(clip_sheet(make_clip([9, 9], [0, 0], **(names | other)), CLASSES))
        for other in (
            {},
            {"video_id": "run"},
            {"file_names": ["a/2.png", "a/4.png"]},
            {"frame_indices": [7, 4]},  # reversed in time: +3
        )
    ]
    for sheet in sheets[1:]:
        assert (sheet != sheets[0]).any()
