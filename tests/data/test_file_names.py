"""Names from strangers: which files may be named after them, in lists, in YAML and when written."""

import os

import pytest
from detectron2.data import DatasetCatalog

from cffm_plugin.data import (
    PrototypeFolder,
    check_name,
    load_vspw,
    path_below,
    register_video_folder,
    register_video_folder_from_yaml,
)
from cffm_plugin.data.datasets.records import Problem

UNSAFE = {
    "": "is empty",
    "/etc/x": "is an absolute path",
    "../x": 'has the part ".."',
    "a/../../x": 'has the part ".."',
    "./a": 'has the part "."',
    "a/": 'has the part ""',
    "a//b": 'has the part ""',
    "a\0b": r"has the control character '\x00'",
    "a\nb": r"has the control character '\n'",
    "a\x85b": r"has the control character '\x85'",
    "a\u2028b": r"has the control character '\u2028'",
    "a\u2029b": r"has the control character '\u2029'",
    "ä" * 128: "has a part of 256 bytes",
    "\ud800": "can't be written in UTF-8",
}


@pytest.fixture
def root(tmp_path, write_vspw):
    return write_vspw(tmp_path / "VSPW", {"train": {"b": 2, "a": 2}}, (4, 6))


def write_list(root, content):
    (root / "train.txt").write_bytes(content)


# The rule


@pytest.mark.parametrize(
    "name",
    ["a", "a/b", "walk 1.mp4", "..a", "a..", ".hidden", "Straße/日本", "x" * 255, "a\\b"],
    ids=lambda name: ascii(name)[:20],
)
def test_a_relative_name_names_a_file_in_the_folder(tmp_path, name):
    check_name(name)
    assert path_below(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", UNSAFE, ids=lambda name: ascii(name)[:20])
def test_a_name_that_leads_elsewhere_or_is_no_line_of_text_is_refused(tmp_path, name):
    with pytest.raises(ValueError) as error:
        path_below(tmp_path, name)
    assert UNSAFE[name] in str(error.value) and "Expected a relative path" in str(error.value)
    with pytest.raises(ValueError, match="Video 7 is no text"):
        check_name(7, "Video")


def test_links_are_followed_within_the_folder_and_nothing_is_written_through_one_out_of_it(
    tmp_path,
):
    (tmp_path / "disk" / "v").mkdir(parents=True)
    (tmp_path / "disk" / "w").symlink_to("v")
    (tmp_path / "disk" / "x").symlink_to(tmp_path)
    (tmp_path / "disk" / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert path_below(tmp_path / "out", "w/0.png") == tmp_path / "out" / "w" / "0.png"
    with pytest.raises(ValueError, match=r"out/x: is a link that leads out of"):
        path_below(tmp_path / "out", "x/0.png")


# Lists


@pytest.mark.parametrize("name", ["../b", "/b", "./b", "b/", "b\u2028c", "b\x0cc", "b" * 256])
def test_a_list_with_such_a_name_is_an_error_with_the_line(root, name):
    write_list(root, f"a\n\n{name}\n".encode())
    with pytest.raises(ValueError) as error:
        load_vspw(root, "train")
    assert f"{root / 'train.txt'}: line 3: " in str(error.value)
    assert "Expected the name of a video" in str(error.value)


def test_whoever_takes_note_gets_the_videos_whose_names_are_safe(root):
    write_list(root, b"a\n./a\n../a\nb")
    problems: list[Problem] = []
    records = load_vspw(root, "train", note=problems.append)
    assert [record["video_id"] for record in records] == ["a", "b"]
    (problem,) = problems
    assert (problem.kind, problem.files) == ("list_name_unsafe", (root / "train.txt",))
    assert "line 2" in str(problem.error) and "line 3" in str(problem.error)


def test_names_with_slashes_are_videos_in_folders(root):
    (root / "data" / "day1").mkdir()
    (root / "data" / "a").rename(root / "data" / "day1" / "a")
    write_list(root, b"day1/a\n")
    assert [record["video_id"] for record in load_vspw(root, "train")] == ["day1/a"]


@pytest.mark.parametrize(
    ("content", "where"), [(b"a\nb\nStra\xdfe\n", "line 3.*0xDF"), ("a\n".encode("utf-16"), "0xFF")]
)
def test_a_list_that_is_not_utf_8_is_named_with_line_and_byte(root, content, where):
    write_list(root, content)
    with pytest.raises(ValueError, match=rf"train\.txt can't be read \(.*{where} is not UTF-8"):
        load_vspw(root, "train")


def test_a_list_that_is_a_pipe_does_not_hang(root):
    os.mkfifo(root / "others.txt")  # read too by whoever looks for folders that no list names
    problems: list[Problem] = []
    assert len(load_vspw(root, "train", note=problems.append)) == 2
    assert problems == []


# Files that are there


@pytest.mark.parametrize("character", ["\n", "\u2028", "\x1b"])
def test_frames_with_control_characters_are_named_before_training(root, character):
    frame = root / "data" / "a" / "origin" / "00000001.jpg"
    frame.rename(frame.with_name(f"0{character}1.jpg"))
    with pytest.raises(ValueError, match="a/origin: .*has the control character"):
        load_vspw(root, "train")


def test_folders_of_videos_with_control_characters_are_named(root, forget_datasets):
    (root / "data" / "a").rename(root / "data" / "a\nb")
    register_video_folder(
        "names_test",
        root,
        ["x", "y"],
        is_train=True,
        frames="data/{video}/origin/{frame}",
        masks=None,
    )
    with pytest.raises(ValueError, match=r"a\\nb/origin.*has the control character"):
        DatasetCatalog.get("names_test")


# Folders of videos


@pytest.mark.parametrize(
    ("dataset", "video", "message"),
    [
        *(("mine", name, f"mine: videos: the video '{name}' ") for name in ("../b", "/b", "./b")),
        ("../mine", "b", "the name of the dataset, '../mine', has"),
    ],
)
def test_videos_and_datasets_of_a_yaml_file_with_such_names_are_refused(
    tmp_path, dataset, video, message
):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{dataset}: {{root: ., classes: [x, y], is_train: true, videos: ['{video}']}}")
    with pytest.raises(ValueError, match=rf"mine\.yaml: {message}"):
        register_video_folder_from_yaml(file)


@pytest.mark.parametrize("key", ["classes", "label_mapping", "void"])
def test_nested_aliases_of_a_yaml_file_are_not_written_out_in_the_error(tmp_path, key):
    value = "[x]"
    for level in range(11):  # 9 ** 11 lists
        value = f"[&k{level} {value}, {', '.join([f'*k{level}'] * 8)}]"
    keys = {"root": ".", "is_train": "true", "classes": "[x, y]"}
    keys[key] = f"{{1: {value}}}" if key == "label_mapping" else value
    text = "".join(f"  {name}: {content}\n" for name, content in keys.items())
    (tmp_path / "mine.yaml").write_text(f"mine:\n{text}")
    with pytest.raises(ValueError, match=rf"mine\.yaml: mine: {key}: expected") as error:
        register_video_folder_from_yaml(tmp_path / "mine.yaml")
    assert len(str(error.value)) < 2000


# Prototypes


def test_prototypes_of_such_videos_are_neither_read_nor_written(tmp_path):
    folder = PrototypeFolder(tmp_path)
    for use in (folder.path, folder.load):
        with pytest.raises(ValueError, match="Video '../b' has the part"):
            use("../b")
