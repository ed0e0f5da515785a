"""A dataset by its registered name, and the same one as a folder with a split."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from cffm_plugin.data import Dataset, load_vspw
from cffm_plugin.data.datasets.vspw_classes import VSPW_CLASSES


def files_of(dataset):
    keys = ("file_name", "sem_seg_file_name")
    return {v["video_id"]: [[f[k] for k in keys] for f in v["frames"]] for v in dataset.videos}


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_registered_dataset_and_its_folder_are_the_same_videos(tiny_vspw, split):
    registered = Dataset.registered(getattr(tiny_vspw, split))
    folder = Dataset.in_folder(tiny_vspw.root, split, tiny_vspw.num_classes)
    assert files_of(registered) == files_of(folder)
    assert registered.label_mapping == folder.label_mapping
    assert len(registered.colors) == len(folder.class_names) == tiny_vspw.num_classes


def test_the_names_of_a_folder_say_what_it_is(tiny_vspw):
    dataset = Dataset.in_folder(tiny_vspw.root, "val")
    assert dataset.name == str(tiny_vspw.root / "val.txt")
    assert dataset.title == f"{tiny_vspw.root.name} val"
    assert dataset.class_names == VSPW_CLASSES
    assert Dataset.registered(tiny_vspw.val).title == tiny_vspw.val


def test_files_are_looked_for_when_videos_are_asked_for(tmp_path):
    dataset = Dataset.in_folder(tmp_path / "nowhere", "val")
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        assert dataset.videos


def test_what_is_amiss_is_noted_where_the_loader_can_and_else_its_error_is_all(tiny_vspw):
    (tiny_vspw.root / "val.txt").write_text("v0\nnot_there\n")
    noting = Dataset.in_folder(tiny_vspw.root, "val", tiny_vspw.num_classes)
    records, problems = noting.load_noting()
    assert {record["video_id"] for record in records} == {"v0"}
    assert "video_missing" in [problem.kind for problem in problems]
    DatasetCatalog.register("cffm_test_strict", lambda: load_vspw(tiny_vspw.root, "val"))
    try:
        records, (problem,) = Dataset.registered("cffm_test_strict").load_noting()
    finally:
        DatasetCatalog.remove("cffm_test_strict")
    assert (records, problem.kind) == ([], "loading_failed")


def test_a_dataset_without_a_mapping_has_videos_and_says_what_it_lacks():
    frames = [{"file_name": "0.png", "sem_seg_file_name": None}]
    DatasetCatalog.register("cffm_test_bare", lambda: [{"video_id": "v", "frames": frames}])
    try:
        dataset = Dataset.registered("cffm_test_bare")
        assert [video["video_id"] for video in dataset.videos] == ["v"]
        with pytest.raises(ValueError, match="cffm_test_bare does not say what the values"):
            assert dataset.label_mapping
    finally:
        DatasetCatalog.remove("cffm_test_bare")


def test_classes_without_names_are_called_by_their_numbers(tiny_vspw):
    metadata = MetadataCatalog.get(tiny_vspw.val)
    del metadata.stuff_classes
    names = Dataset.registered(tiny_vspw.val).class_names
    assert names == tuple(f"class {k}" for k in range(tiny_vspw.num_classes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "1 to 254, got 0"),
        ({"num_classes": 255}, "1 to 254, got 255"),
        ({"max_megapixels": 0}, "above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Dataset.in_folder(tmp_path, "val", **options)
