"""Frames under the colours of their classes, and legends."""

import numpy as np
import pytest
from PIL import Image

from cffm_plugin.data import save_label_map
from cffm_plugin.pictures.painting import (
    add_legend,
    classes_present,
    colorize,
    legend_column,
    overlay,
)

COLORS = ((200, 0, 60), (0, 120, 240), (40, 80, 0), (248, 200, 16))
VOID = 255


def make_frame(size=(4, 6), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_labels(size=(4, 6), seed=0):
    return np.random.default_rng(seed).integers(0, len(COLORS), size, dtype=np.uint8)


def test_a_pixel_is_blended_with_the_colour_of_its_class_from_the_frame_to_it_alone():
    frame = np.full((1, 2, 3), 100, dtype=np.uint8)
    painted = overlay(frame, np.array([[0, 1]], dtype=np.uint8), COLORS, opacity=0.25)
    # 0.75 * 100 + 0.25 * (200, 0, 60), and + 0.25 * (0, 120, 240)
    assert painted.tolist() == [[[125, 75, 90], [75, 105, 135]]]
    frame, labels = make_frame(), make_labels()
    assert np.array_equal(overlay(frame, labels, COLORS, opacity=0), frame)
    assert np.array_equal(overlay(frame, labels, COLORS, opacity=1), colorize(labels, COLORS))


def test_void_and_hidden_pixels_stay_as_they_are():
    frame, labels = make_frame(), make_labels()
    labels[0] = VOID
    shown = np.ones(labels.shape, dtype=bool)
    shown[:, 2] = False
    painted = overlay(frame, labels, COLORS, opacity=1, shown=shown)
    colored = shown.copy()
    colored[0] = False
    assert np.array_equal(painted[~colored], frame[~colored])
    assert np.array_equal(painted[colored], colorize(labels, COLORS)[colored])


def test_classes_present_are_those_of_the_pixels_that_count():
    labels = np.array([[3, 0, VOID], [3, 1, 0]], dtype=np.uint8)
    assert classes_present(labels, 4) == [0, 1, 3]
    assert classes_present(labels, 4, shown=labels != 1) == [0, 3]
    assert classes_present(labels, 4, shown=labels == VOID) == []


@pytest.mark.parametrize("size", [(240, 320), (720, 1280)])
def test_a_legend_shows_its_colours_at_the_foot_and_leaves_the_rest(size):
    picture = np.full((*size, 3), 100, dtype=np.uint8)
    with_legend = add_legend(picture, [("one", COLORS[0]), ("three", COLORS[3])])
    half = size[0] // 2
    assert with_legend.shape == picture.shape
    assert np.array_equal(with_legend[:half], picture[:half])
    for color, is_listed in zip(COLORS, (True, False, False, True)):
        assert (with_legend == color).all(axis=2).any() == is_listed


def test_a_long_legend_is_wrapped_and_does_not_outgrow_a_small_picture():
    picture = np.full((240, 320, 3), 100, dtype=np.uint8)
    names = [f"a class of a long name {k}" for k in range(4)]
    height = {
        count: (add_legend(picture, list(zip(names[:count], COLORS))) != 100).any(axis=(1, 2)).sum()
        for count in (0, 1, 4)
    }
    assert height[0] == 0 < height[1] < height[4] < 120
    small = np.full((24, 16, 3), 100, dtype=np.uint8)
    assert add_legend(small, [(f"class {k}", COLORS[k]) for k in range(4)]).shape == (24, 16, 3)


def test_a_column_has_one_width_whatever_it_lists_and_counts_what_it_has_no_line_for():
    names = (*(f"class {k}" for k in range(123)), "a class whose name is long enough for two")
    classes = [(name, (200, k, 60)) for k, name in enumerate(names)]
    for height in (48, 360, 720):
        listed = [legend_column(classes[:count], names, height) for count in (0, 3, 124)]
        assert {column.shape for column in listed} == {listed[0].shape}
        assert listed[0].shape[0] == height and listed[0].shape[1] % 2 == 0
        # Squares of the first classes are there, one line each; those of the last are counted.
        shown = {k for k in range(124) if (listed[2] == (200, k, 60)).all(axis=2).any()}
        assert shown == set(range(len(shown))) and len(shown) < 124
    assert len(shown) >= 20
    assert not (listed[1] == (200, 3, 60)).all(axis=2).any()
    assert (listed[1] == (200, 2, 60)).all(axis=2).any()


def test_a_saved_label_map_holds_class_indices_and_the_palette(tmp_path):
    labels = make_labels()
    save_label_map(tmp_path / "labels.png", labels, COLORS)
    image = Image.open(tmp_path / "labels.png")
    assert image.mode == "P" and np.array_equal(np.array(image), labels)
    assert np.array_equal(np.array(image.convert("RGB")), colorize(labels, COLORS))
