"""Folders of videos from YAML files."""

import os

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from cffm_plugin.data import LabelMapping, load_vspw, register_video_folder_from_yaml

pytestmark = pytest.mark.usefixtures("forget_datasets")

TEXT = """
cffm_test_yaml_train: &common
  root: mine
  classes: [upper, lower, "no", box]
  videos: train.txt
  is_train: true
  frames: "data/{video}/origin/{frame}.jpg"
  masks: "data/{video}/mask/{frame}.png"
  label_mapping: {1: upper, 2: lower, 3: "no", 4: 3}
  void: [0, 255]
  colors: [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0]]
cffm_test_yaml_val:
  <<: *common
  videos: [c]
  is_train: false
"""
TRAIN, VAL = NAMES = ["cffm_test_yaml_train", "cffm_test_yaml_val"]


@pytest.fixture
def file(tmp_path, write_vspw):
    """A YAML file beside a folder in VSPW's layout."""
    write_vspw(tmp_path / "mine", {"train": {"b": 3, "a": 4}, "val": {"c": 2}})
    file = tmp_path / "videos.yaml"
    file.write_text(TEXT)
    return file


def test_one_file_registers_several_datasets_with_folders_relative_to_it(
    file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path.parent)
    assert register_video_folder_from_yaml(f"{tmp_path.name}/videos.yaml") == NAMES
    monkeypatch.chdir("/")  # what was registered does not depend on where it is used
    assert DatasetCatalog.get(TRAIN) == load_vspw(tmp_path / "mine", "train")
    assert DatasetCatalog.get(VAL) == load_vspw(tmp_path / "mine", "val")
    for name in NAMES:
        metadata = MetadataCatalog.get(name)
        assert metadata.stuff_classes == ["upper", "lower", "no", "box"]
        assert metadata.label_mapping == LabelMapping.shifted_by_one(4)
        assert metadata.stuff_colors == [(1, 2, 3), (4, 5, 6), (7, 8, 9), (0, 0, 0)]


def test_absolute_roots_and_the_home_folder(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in (tmp_path / "mine", "~/mine"):
        name = f"cffm_test_yaml_{len(str(root))}"
        other = tmp_path / "elsewhere" / f"{name}.yaml"
        other.parent.mkdir(exist_ok=True)
        other.write_text(
            TEXT.replace("root: mine", f"root: {root}").replace("cffm_test_yaml", name)
        )
        train, _ = register_video_folder_from_yaml(f"~/elsewhere/{other.name}")
        assert DatasetCatalog.get(train) == load_vspw(tmp_path / "mine", "train")


def test_registering_a_file_again_does_nothing(file):
    register_video_folder_from_yaml(file)
    before = {name: DatasetCatalog[name] for name in NAMES}
    assert register_video_folder_from_yaml(os.path.relpath(file)) == NAMES
    assert {name: DatasetCatalog[name] for name in NAMES} == before


@pytest.mark.parametrize("change", ["other arguments", "a builtin name"])
def test_a_name_of_another_dataset_is_refused(file, change):
    register_video_folder_from_yaml(file)
    if change == "other arguments":
        file.write_text(TEXT.replace('3: "no", 4: 3', '3: 3, 4: "no"'))
        taken = TRAIN
    else:
        file.write_text(TEXT.replace(VAL, "vspw_val"))
        taken = "vspw_val"
    with pytest.raises(ValueError, match=rf"videos\.yaml: {taken}: .*registered already"):
        register_video_folder_from_yaml(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  videos: train.txt\n",
            "  vidoes: train.txt\n",
            r"there is no key vidoes; did you mean videos\?",
        ),
        ("  videos: train.txt\n", "  xyz: 1\n", "there is no key xyz; expected root, classes"),
        ("  root: mine\n", "", "root is missing"),
        ("  is_train: true\n", "", "is_train is missing"),
        ("root: mine", "root: [mine]", r"root: expected a folder; got \['mine'\]"),
        ('"no", box]', "no, box]", "classes: .*in quotes.*False"),
        ("void: [0, 255]", "void: 255", "void: expected a list of values"),
        ('3: "no"', "3: nose", r"label_mapping: value 3 is of class nose"),
        ('"data/{video}/mask/{frame}.png"', "{video}", "masks: expected a path in quotes, or null"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_and_nothing_is_registered(file, old, new, message):
    assert old in TEXT
    # The second dataset is wrong, the first one is not.
    first, second = TEXT.replace("&common", ""), TEXT.replace("yaml_train: &common", "yaml_other:")
    file.write_text(first[: first.index(VAL)] + second[: second.index(VAL)].replace(old, new))
    with pytest.raises(ValueError, match=rf"(?s)videos\.yaml: cffm_test_yaml_other: {message}"):
        register_video_folder_from_yaml(file)
    assert TRAIN not in DatasetCatalog


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the names of datasets"),
        ("- a\n- b\n", "expected the names of datasets"),
        ("mine: 3\n", "expected the names of datasets"),
        ("mine: {root: a\n", "line 2: this is not YAML"),
        ("mine:\n  frames: {video}/{frame}.jpg\n", "line 2: this is not YAML.*braces want quotes"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)wrong\.yaml: {message}"):
        register_video_folder_from_yaml(tmp_path / "wrong.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml: there is no such file"):
        register_video_folder_from_yaml(tmp_path / "nowhere.yaml")
