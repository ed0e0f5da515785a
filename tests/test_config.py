"""Reading configs: shipped files load, mistakes get errors that name the nearest key."""

from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.projects.point_rend import add_pointrend_config
from torch import nn

from cffm_plugin.config import add_cffm_config, load_config
from cffm_plugin.data.augmentation import build_training_augmentations
from cffm_plugin.engine import build_optimizer

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_config_loads(file):
    assert load_config(str(file)).MODEL.META_ARCHITECTURE == "CFFMSegmentor"


@pytest.mark.parametrize("variant, depth", [("b0", 1), ("b1", 2), ("b2", 2), ("b5", 4)])
def test_vspw_configs_hold_the_published_recipe(variant, depth):
    cfg = load_config(str(CONFIGS / "vspw" / f"cffm_mit_{variant}.yaml"))
    assert (f"mit_{variant}", depth) == (cfg.MODEL.MIT.NAME, cfg.MODEL.CFFM.DEPTH)
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER) == (8, 160_000)
    image = load_config(str(CONFIGS / "vspw" / f"segformer_mit_{variant}.yaml"))
    assert not image.MODEL.TEMPORAL.ENABLED
    image.MODEL.TEMPORAL.ENABLED, image.OUTPUT_DIR = True, cfg.OUTPUT_DIR
    assert image == cfg  # the baseline differs in nothing else


def test_a_misspelt_key_in_a_file_names_the_file_and_the_nearest_key(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("MODEL:\n  CFFM:\n    DEPHT: 3\n")
    with pytest.raises(KeyError, match=r"mine\.yaml.*MODEL\.CFFM\.DEPHT.*MODEL\.CFFM\.DEPTH"):
        load_config(str(file))


@pytest.mark.parametrize("key", ["MODEL.CFFM.DEPHT", "MODLE.CFFM.DEPTH"])
def test_a_misspelt_key_on_the_command_line_names_the_nearest_key(key):
    with pytest.raises(KeyError, match=rf"command line.*{key}.*MODEL\.CFFM\.DEPTH"):
        load_config("", [key, "3"])


def test_overrides_that_are_no_pairs_are_an_error():
    with pytest.raises(ValueError, match=r"pairs.*MODEL\.WEIGHTS"):
        load_config("", ["MODEL.WEIGHTS"])


def test_a_value_of_another_type_is_an_error_that_names_the_key():
    with pytest.raises(ValueError, match="DEPTH"):
        load_config("", ["MODEL.CFFM.DEPTH", "two"])


def test_a_missing_file_is_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        load_config("nowhere.yaml")


ORDERS = {
    "ours first": [add_cffm_config, add_pointrend_config, "file"],
    "ours last": [add_pointrend_config, "file", add_cffm_config],
    "ours twice": [add_cffm_config, add_pointrend_config, "file", add_cffm_config],
    "ours alone": [add_cffm_config, "file"],
}


def config_in_order(order, tmp_path):
    """A config made of steps; "file" merges one that chooses Mask2Former's spelling of AdamW."""
    file = tmp_path / "solver.yaml"
    file.write_text(
        "SOLVER:\n  OPTIMIZER: ADAMW\n  BASE_LR: 0.0001\n"
        "INPUT:\n  CROP:\n    ENABLED: True\n    TYPE: absolute\n    SIZE: [64, 64]\n"
    )
    cfg = get_cfg()
    cfg.SOLVER.OPTIMIZER = "SGD"  # of another project's adder
    for step in order:
        if step == "file":
            cfg.merge_from_file(str(file))
        else:
            step(cfg)
    return cfg


@pytest.mark.parametrize("order", ORDERS)
def test_augmentations_and_optimizer_do_not_depend_on_who_adds_keys_first(order, tmp_path):
    cfg, alone = (config_in_order(ORDERS[name], tmp_path) for name in (order, "ours alone"))
    assert cfg.INPUT.CLIP == alone.INPUT.CLIP and cfg.INPUT.CROP == alone.INPUT.CROP
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1), "sem_seg_head": nn.Linear(1, 1)})
    ours, theirs = (build_optimizer(c, model) for c in (cfg, alone))
    assert type(ours) is type(theirs) is torch.optim.AdamW
    assert ours.defaults == theirs.defaults
    described = [
        [type(step).__name__ for step in build_training_augmentations(c)] for c in (cfg, alone)
    ]
    assert described[0] == described[1] and "ColorDistortion" in described[0]


@pytest.mark.parametrize("value", ["mine.yaml", "('mine.yaml',)", "['mine.yaml']"])
def test_one_video_folder_needs_no_brackets(tmp_path, value):
    assert load_config("", ["DATASETS.VIDEO_FOLDERS", value]).DATASETS.VIDEO_FOLDERS == (
        "mine.yaml",
    )
    file = tmp_path / "config.yaml"
    file.write_text(f"DATASETS:\n  VIDEO_FOLDERS: {value}\n")
    assert load_config(str(file)).DATASETS.VIDEO_FOLDERS == ("mine.yaml",)


@pytest.mark.parametrize("value", ["(mine.yaml,)", "3"])
def test_names_written_wrong_are_told_how_to_write_them(tmp_path, value):
    message = r"DATASETS\.VIDEO_FOLDERS: expected names, written as \"\('file\.yaml',\)\""
    with pytest.raises(ValueError, match=rf"command line: {message}"):
        load_config("", ["DATASETS.VIDEO_FOLDERS", value])
    file = tmp_path / "config.yaml"
    file.write_text(f"DATASETS:\n  VIDEO_FOLDERS: {value}\n")
    with pytest.raises(ValueError, match=rf"config\.yaml: {message}"):
        load_config(str(file))


def test_a_list_of_a_file_stays_where_the_command_line_names_others(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("DATASETS:\n  VIDEO_FOLDERS: mine.yaml\n  TRAIN: ()\n")
    cfg = load_config(str(file), ["DATASETS.TEST", "mine_val"])
    assert cfg.DATASETS.VIDEO_FOLDERS == ("mine.yaml",)
    assert (cfg.DATASETS.TRAIN, cfg.DATASETS.TEST) == ((), ("mine_val",))
