"""Lists of classes beside masks: read, and they win over the order that a person wrote."""

import re

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from cffm_plugin.data import Dataset, register_video_folder
from cffm_plugin.data.datasets.class_files import read_class_file
from cffm_plugin.doctor import check_dataset

pytestmark = pytest.mark.usefixtures("forget_datasets")

NAME = "cffm_test_class_file"
CLASSES = ["background", "road", "car", "person"]
VALUES = np.array([[0, 1, 2, 3]], np.uint8)
# Alphabetical, as CVAT writes its labels; with capitals "background" is not the first.
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:0,0,142::\nperson:220,20,60::\n"
CVAT += "road:128,64,128::\n"
CAPITALS = "Car:0,0,142::\nPerson:220,20,60::\nbackground:0,0,0::\nroad:128,64,128::\n"
RGB = np.array([[(0, 0, 0), (0, 0, 142), (220, 20, 60), (128, 64, 128)]], np.uint8)


@pytest.fixture
def root(tmp_path):
    for video in "ab":
        for folder, pixels in (("frames", np.zeros((1, 4, 3), np.uint8)), ("masks", VALUES)):
            (tmp_path / video / folder).mkdir(parents=True)
            for index in range(3):
                Image.fromarray(pixels).save(tmp_path / video / folder / f"{index}.png")
    return tmp_path


def load(root, classes=CLASSES, **said):
    if NAME in DatasetCatalog:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)
    register_video_folder(NAME, root, classes, is_train=True, **said)
    return DatasetCatalog.get(NAME)


def pasted(root, classes=CLASSES, **said):
    """The keys of YAML that the error offers, after a look that they satisfy the file."""
    with pytest.raises(ValueError) as error:
        load(root, classes, **said)
    lines = re.search(r"  (label_mapping: .*)\n  (void: .*)(\n|$)", str(error.value))
    keys = yaml.safe_load(f"{lines[1]}\n{lines[2]}")
    assert load(root, classes, **keys)
    return keys


FILES = {
    "labelmap.txt": CVAT,
    "class_names.txt": "background\ncar\nperson\nroad\n",
    "labels.txt": "__ignore__\nbackground\ncar\nperson\nroad\n",
    "label_colors.txt": "0 0 0 background\n0 0 142\tcar\n220 20 60 person\n128 64 128 road\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, car\n2, person\n3, road\n",
    "classes.txt": "0: background\n1: car\n2: person\n3: road\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\ncar,0,0,142\nperson,2,2,6\nroad,8,6,8\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", [".", "a", "a/masks"])
def test_another_order_than_the_files_is_an_error_with_the_files_own_mapping(root, name, folder):
    (root / folder / name).write_text(FILES[name])
    keys = pasted(root)
    assert keys["label_mapping"] == {0: "background", 1: "car", 2: "person", 3: "road"}
    in_order = ["background", "car", "person", "road"]
    assert load(root, in_order)  # what a person wrote agrees


def test_a_background_in_the_middle_is_void_where_it_is_none_of_the_classes(root):
    (root / "labelmap.txt").write_text(CAPITALS)
    keys = pasted(root, ["road", "car", "person"])
    assert keys == {"label_mapping": {0: "car", 1: "person", 3: "road"}, "void": [2, 255]}
    keys = pasted(root, ["car", "person", "road"], label_mapping="from_1")
    assert keys["label_mapping"] == {0: "car", 1: "person", 3: "road"}


def test_a_written_mapping_that_differs_is_an_error_too(root):
    (root / "_classes.csv").write_text(FILES["_classes.csv"])
    with pytest.raises(ValueError, match=r"2 is person and not car.*, 3 is road and not person"):
        load(root, label_mapping={0: 0, 1: "car", 2: "car", 3: "person"})


def test_several_values_may_be_of_one_class_that_the_file_does_not_name(root):
    (root / "labelmap.txt").write_text(CVAT)
    classes, mapping = ["background", "road", "thing"], {0: 0, 1: "thing", 2: "thing", 3: "road"}
    assert load(root, classes, label_mapping=mapping)


def test_the_palette_tells_more_than_the_files_order(root):
    """A program that reads colour masks and writes palettes numbers them as it likes."""
    (root / "labelmap.txt").write_text(CVAT)
    for mask in root.glob("*/masks/*.png"):
        image = Image.fromarray(VALUES)
        image.putpalette([0, 0, 0, 128, 64, 128, 0, 0, 142, 220, 20, 60])  # road is 1, car 2
        image.save(mask)
    assert load(root)  # background, road, car, person


def test_colour_masks_are_an_error_with_the_files_colours(root):
    (root / "labelmap.txt").write_text(CVAT)
    for mask in root.glob("*/masks/*.png"):
        Image.fromarray(RGB).save(mask)
    keys = pasted(root)
    assert keys["label_mapping"] == {
        "#000000": "background",
        "#00008e": "car",
        "#dc143c": "person",
        "#804080": "road",
    }
    mapping = MetadataCatalog.get(NAME).label_mapping
    labels = mapping(mapping.read(root / "a" / "masks" / "0.png"))
    assert [CLASSES[k] for k in labels[0]] == ["background", "car", "person", "road"]
    swapped = keys["label_mapping"] | {"#00008e": "person", "#dc143c": "car"}
    assert pasted(root, label_mapping=swapped) == keys


def test_other_names_can_not_be_compared_and_a_warning_says_so(root, caplog):
    (root / "labelmap.txt").write_text(CVAT)
    load(root, ["Grund", "Strasse", "Auto", "Mensch"])
    assert "whether the order is the same can't be told" in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "This folder holds my masks.\n"),
        ("_classes.csv", "filename, car, person\n1.jpg, 0, 1\n2.jpg, 1, 1\n"),
        ("classes.csv", "value,class\none,road\ntwo,car\n"),
        ("labels.txt", ""),
        ("labelmap.txt", "only\n"),
    ],
)
def test_files_of_other_kinds_are_passed_over(root, name, text):
    (root / name).write_text(text)
    assert read_class_file(root / name) is None
    assert load(root)


def test_files_outside_the_dataset_are_not_read(root):
    (root.parent / "labelmap.txt").write_text(CVAT)
    assert load(root)


def test_the_doctor_names_the_file_and_checks_on(root):
    (root / "labelmap.txt").write_text(CVAT)
    register_video_folder(NAME, root, CLASSES, is_train=True, label_mapping="from_0")
    (finding,) = check_dataset([Dataset.registered(NAME)], offsets=(-1,), jobs=1).findings
    assert (finding.kind, finding.stops) == ("class_file_differs", ("loading",))
    assert finding.files == ("labelmap.txt",)
