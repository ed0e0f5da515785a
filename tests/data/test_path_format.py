"""Formats of paths: what they find, and what they say of it."""

from pathlib import Path

import pytest

from cffm_plugin.data.datasets.path_format import PathFormat

SUFFIXES = (".jpg", ".png")


def find(root, text, files, videos=None):
    """(video, frame) of what a format finds among some files, in order."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    matches = PathFormat(text, SUFFIXES).find(root, videos)
    assert all(match.file.is_file() for match in matches)
    return sorted((match.video, match.frame) for match in matches)


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        (
            "{video}/origin/{frame}.jpg",
            ["a/origin/1.jpg", "b/origin/2.jpg"],
            [("a", "1"), ("b", "2")],
        ),
        # DAVIS
        ("JPEGImages/480p/{video}/{frame}.jpg", ["JPEGImages/480p/bear/00.jpg"], [("bear", "00")]),
        # Flat: the frame is what follows the last "_".
        ("{video}_{frame}.png", ["a_b_01.png", "c_2.png"], [("a_b", "01"), ("c", "2")]),
        ("x/{video}-{frame}_rgb.png", ["x/a-1_rgb.png", "x/a-2.png"], [("a", "1")]),
        # One video
        ("images/{frame}.png", ["images/1.png"], [("", "1")]),
        # A place that stands twice
        ("{video}/{video}_{frame}.jpg", ["a/a_1.jpg", "a/b_1.jpg"], [("a", "1")]),
        ("{video}_{video}_{frame}.jpg", ["a_a_1.jpg", "a_b_1.jpg"], [("a", "1")]),
        # The frame is a folder.
        ("{video}/{frame}/image.jpg", ["a/1/image.jpg", "a/2/depth.jpg"], [("a", "1")]),
        # Characters that mean something in regular expressions
        ("{video}(1)/f+{frame}.jpg", ["a(1)/f+2.jpg", "a1/ff2.jpg"], [("a", "2")]),
    ],
)
def test_it_finds_the_files_of_its_form_and_what_the_places_stand_for(
    tmp_path, text, files, expected
):
    others = ["other.txt", "a/other.jpg.txt", "z/deep/er/1.jpg"]
    assert find(tmp_path, text, [*files, *others]) == expected


def test_without_a_suffix_it_takes_and_shows_all_that_are_allowed_and_none_that_is_hidden(tmp_path):
    assert find(tmp_path / "nowhere", "{video}/{frame}.jpg", []) == []
    files = ["v/1.jpg", "v/2.PNG", "v/3.JPG", "v/4.gif", "v/5", "v/._1.jpg", "v/.2.jpg", ".v/3.jpg"]
    assert find(tmp_path, "{video}/{frame}", files) == [("v", "1"), ("v", "2"), ("v", "3")]
    assert find(tmp_path, "{video}/{frame}.jpg", files) == [("v", "1")]
    assert str(PathFormat("{video}/{frame}", SUFFIXES)) == '"{video}/{frame}" (.jpg, .png)'
    assert str(PathFormat("{video}/{frame}.png", SUFFIXES)) == '"{video}/{frame}.png"'


def test_it_looks_into_no_video_but_those_asked_for(tmp_path, monkeypatch):
    files = ["a/f/1.jpg", "b/f/1.jpg", "ab/f/1.jpg"]
    assert find(tmp_path, "{video}/f/{frame}", files, {"a", "c"}) == [("a", "1")]
    assert find(tmp_path, "f/{video}_{frame}", ["f/a_1.jpg", "f/a_b_1.jpg"], {"a"}) == [("a", "1")]
    looked_into = []
    monkeypatch.setattr("os.listdir", lambda folder: looked_into.append(Path(folder).name) or ["a"])
    PathFormat("{video}/{frame}", SUFFIXES).find(tmp_path, {"b"})
    assert looked_into == [tmp_path.name]


@pytest.mark.parametrize("text", ["", "{video}/1.jpg", "{video}/{}", "{frame}/{name}", "{frame"])
def test_a_format_without_a_frame_or_with_other_places_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a path with \{frame\} in it.*got"):
        PathFormat(text, SUFFIXES)
