"""What checkpoints say of their models: written, read back, compared, and never run."""

import logging

import pytest
import torch
import yaml
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from cffm_plugin.checkpoint import (
    INFO_KEY,
    ModelInfo,
    SegmentorCheckpointer,
    load_stored_config,
    read_model_info,
)
from cffm_plugin.config import load_config

CLASSES = ("road", "car", "sky")
COLORS = ((1, 2, 3), (4, 5, 6), (7, 8, 9))


def info(classes=CLASSES, colors=COLORS, **keys):
    cfg = load_config("", [str(word) for pair in keys.items() for word in pair])
    return ModelInfo.from_config(cfg, classes, colors)


def model():
    torch.manual_seed(0)
    return nn.ModuleDict({"backbone": nn.Linear(2, 3)})


@pytest.fixture
def saved(tmp_path):
    """A function: what a model is -> the path of its checkpoint."""

    def save(of_model, name="model"):
        SegmentorCheckpointer(model(), str(tmp_path), info=of_model).save(name)
        return str(tmp_path / f"{name}.pth")

    return save


def test_it_is_read_back_as_it_was_written_in_plain_containers(saved):
    path = saved(info())
    assert read_model_info(path) == info() == read_model_info(f"{path}?matching_heuristics=True")
    stored = torch.load(path, weights_only=True)[INFO_KEY]
    assert stored["class_names"] == list(CLASSES)
    assert stored["class_colors"] == [list(color) for color in COLORS]
    assert stored["image_format"] == load_config().INPUT.FORMAT and stored["version"]
    assert yaml.safe_load(stored["config"])["MODEL"]["CFFM"]["DEPTH"] == 2


def test_the_weights_are_the_same_with_and_without_and_detectron2_reads_both(saved):
    for path in (saved(info(), "with"), saved(None, "without")):
        loaded = model()
        nn.init.zeros_(loaded["backbone"].weight)
        DetectionCheckpointer(loaded).load(path)
        assert torch.equal(loaded["backbone"].weight, model()["backbone"].weight)


def test_files_without_it_say_nothing_and_load_as_before(saved, tmp_path, caplog):
    without = saved(None)
    assert read_model_info(without) is None
    old = tmp_path / "old.pth"
    torch.save({"model": model().state_dict()}, old, _use_new_zipfile_serialization=False)
    (tmp_path / "text.pth").write_text("404")
    assert read_model_info(old) is None and read_model_info(tmp_path / "text.pth") is None
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        for path in (without, str(old)):
            SegmentorCheckpointer(model(), info=info(), require_all=True).load(path)
    assert caplog.messages == []
    with pytest.raises(FileNotFoundError, match="There is no checkpoint nowhere"):
        read_model_info("nowhere.pth")


@pytest.mark.parametrize(
    "stored",
    [
        *("text", 3, None, [], {"class_names": "abc"}, {"class_names": [1, 2]}),
        *({"class_colors": [[1, 2]]}, {"class_colors": [[1, 2, 300]]}, {"class_colors": "red"}),
        *({"pixel_mean": ["a"]}, {"pixel_std": 1.0}, {"image_format": 3}, {"config": {"A": 1}}),
        {"something": "newer"},
    ],
)
def test_what_is_not_as_it_should_be_is_not_known(stored, tmp_path):
    torch.save({"model": {}, INFO_KEY: stored}, tmp_path / "strange.pth")
    assert read_model_info(tmp_path / "strange.pth") == ModelInfo()


def warnings_of_loading(path, ours, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        SegmentorCheckpointer(model(), info=ours, require_all=True).load(path)
    return [record.getMessage() for record in caplog.records if "cffm_plugin" in record.name]


def test_another_normalisation_is_a_warning_that_names_both(saved, caplog):
    path = saved(info(**{"INPUT.FORMAT": "RGB", "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53]}))
    same = info(**{"INPUT.FORMAT": "RGB", "MODEL.PIXEL_MEAN": [0.485 * 255, 0.456 * 255, 103.53]})
    assert warnings_of_loading(path, same, caplog) == []
    other = info(**{"INPUT.FORMAT": "BGR", "MODEL.PIXEL_MEAN": [0.0, 0.0, 0.0]})
    (warning,) = warnings_of_loading(path, other, caplog)
    assert "mean 123.675, 116.28, 103.53, std 1, 1, 1, RGB" in warning
    assert "mean 0, 0, 0, std 1, 1, 1, BGR" in warning


def test_other_classes_of_the_same_number_are_a_warning_that_names_the_first(saved, caplog):
    path = saved(info())
    assert warnings_of_loading(path, info(("Road", "car", "sky")), caplog) == []
    assert warnings_of_loading(path, info(("a", "b")), caplog) == []  # shapes would tell
    (warning,) = warnings_of_loading(path, info(("road", "sky", "car")), caplog)
    assert "class 1 is car in the checkpoint and sky in the dataset (2 of 3 differ)" in warning


# The config


def write_config(path, text):
    torch.save({"model": {}, INFO_KEY: {"config": text}}, path)
    return ["MODEL.WEIGHTS", str(path)]


def test_a_stored_config_is_that_of_the_training_without_its_machine(saved):
    path = saved(info(**{"MODEL.CFFM.DEPTH": 7, "DATASETS.VIDEO_FOLDERS": "('mine.yaml',)"}))
    cfg = load_stored_config(["MODEL.WEIGHTS", path, "MODEL.CFFM.NUM_HEADS", "2"])
    assert cfg.MODEL.CFFM.DEPTH == 7 and cfg.MODEL.CFFM.NUM_HEADS == 2
    assert str(cfg.MODEL.WEIGHTS) == path
    assert cfg.DATASETS.VIDEO_FOLDERS == () and cfg.MODEL.TIMM.CHECKPOINT == ""
    cfg = load_stored_config(["MODEL.WEIGHTS", path, "DATASETS.VIDEO_FOLDERS", "here.yaml"])
    assert cfg.DATASETS.VIDEO_FOLDERS == ("here.yaml",)  # one name is a list, as for any config


def test_nothing_is_imported_or_read_because_a_checkpoint_says_so(tmp_path, caplog):
    (tmp_path / "code.py").write_text("raise SystemExit('was imported')")
    text = f"""
        _BASE_: {tmp_path}/base.yaml
        MODEL:
          IMPORTS: [{tmp_path}/code.py]
          CONFIG_ADDERS: ["{tmp_path}/code.py:add"]
          CFFM: {{DEPTH: 5}}
    """
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        cfg = load_stored_config(write_config(tmp_path / "w.pth", text))
    assert cfg.MODEL.CFFM.DEPTH == 5
    assert [m.split(" in ")[0] for m in caplog.messages] == ["MODEL.IMPORTS", "MODEL.CONFIG_ADDERS"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "carries no config"),
        ("MODEL: !!python/object/apply:os.getcwd []", "can't be used here"),
        ("MODEL: {NOBODYS: 1}", "can't be used here .*NOBODYS"),
        ("[1, 2]", "can't be used here .*got list"),
        ("MODEL: {CFFM: {DEPTH: text}}", "can't be used here"),
    ],
)
def test_configs_that_can_not_be_used_are_errors_that_say_what_to_do(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"(?s){message}.*Name the config file"):
        load_stored_config(write_config(tmp_path / "w.pth", text))


def test_without_weights_there_is_no_config():
    with pytest.raises(ValueError, match="Name a config file"):
        load_stored_config([])


def test_a_folder_in_place_of_weights_is_told_which_file_to_name(saved, tmp_path):
    file = saved(info())
    for read in (read_model_info, SegmentorCheckpointer(model()).load):
        with pytest.raises(FileNotFoundError, match=f"it is a folder. Name a file in it.*{file}"):
            read(str(tmp_path))
