"""MODEL.IMPORTS and MODEL.CONFIG_ADDERS: other projects' parts and keys from a config alone."""

import logging
import os
import sys

import pytest
from detectron2.config import get_cfg
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

from cffm_plugin import add_cffm_config
from cffm_plugin.config import load_config, merge_config
from cffm_plugin.engine import complete_config
from cffm_plugin.foreign_parts import log_foreign_parts

ADDER = """
from detectron2.config import CfgNode

calls = []

def add_keys(cfg):
    calls.append(1)
    cfg.MODEL.STRANGER = CfgNode({"WIDTH": 3})
"""


@pytest.fixture
def adder(tmp_path):
    """A file of a person's that adds a key, in a folder beside that of the configs."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "keys.py").write_text(ADDER)
    return tmp_path / "keys.py"


def write(folder, name, text):
    file = folder / "configs" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return str(file)


def module_of(file):
    (module,) = {m for m in sys.modules.values() if getattr(m, "__file__", None) == str(file)}
    return module


@pytest.mark.parametrize(
    "value",
    [
        "('../keys.py:add_keys',)",
        "['../keys.py:add_keys']",
        "../keys.py:add_keys",
        "!!python/tuple ['../keys.py:add_keys']",
    ],
    ids=["a tuple in words", "YAML's list", "one alone", "a tuple by a tag"],
)
def test_a_config_brings_the_keys_that_it_sets_by_lists_as_detectron2_writes_them(
    adder, tmp_path, value
):
    text = f"MODEL:\n  CONFIG_ADDERS: {value}\n  STRANGER: {{WIDTH: 5}}\n"
    cfg = load_config(write(tmp_path, "mine.yaml", text))
    assert ([f"{adder}:add_keys"], 5) == (cfg.MODEL.CONFIG_ADDERS, cfg.MODEL.STRANGER.WIDTH)


def test_lists_of_base_files_count_and_their_paths_are_relative_to_them(adder, tmp_path):
    write(tmp_path, "base.yaml", 'MODEL:\n  CONFIG_ADDERS: ["../keys.py:add_keys"]\n')
    (tmp_path / "configs" / "deep").mkdir()
    (tmp_path / "configs" / "deep" / "other.py").write_text("")
    text = '_BASE_: "../base.yaml"\nMODEL:\n  IMPORTS: ["other.py"]\n  STRANGER: {WIDTH: 5}\n'
    cfg = load_config(write(tmp_path, "deep/mine.yaml", text))
    assert cfg.MODEL.STRANGER.WIDTH == 5
    assert [f"{adder}:add_keys"] == cfg.MODEL.CONFIG_ADDERS
    assert [str(tmp_path / "configs" / "deep" / "other.py")] == cfg.MODEL.IMPORTS


def test_lists_of_bases_leaf_and_command_line_add_up_in_this_order(tmp_path, monkeypatch):
    for name in ("one.py", "two.py", "three.py"):
        write(tmp_path, name, "")
    write(tmp_path, "base.yaml", 'MODEL:\n  IMPORTS: ["one.py"]\n')
    text = '_BASE_: ["base.yaml"]\nMODEL:\n  IMPORTS: ["two.py", "one.py"]\n'
    file = write(tmp_path, "mine.yaml", text)
    monkeypatch.chdir(tmp_path)
    cfg = load_config(file, ["MODEL.IMPORTS", "('configs/three.py',)"])
    assert [os.path.basename(name) for name in cfg.MODEL.IMPORTS] == [
        "one.py",
        "two.py",
        "three.py",
    ]


def test_the_command_line_names_files_from_the_working_directory(adder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["MODEL.STRANGER.WIDTH", "5", "MODEL.CONFIG_ADDERS", "('keys.py:add_keys',)"]
    cfg = load_config("", overrides)
    assert (5, [f"{adder}:add_keys"]) == (cfg.MODEL.STRANGER.WIDTH, cfg.MODEL.CONFIG_ADDERS)


def test_a_saved_config_loads_again_as_it_is(adder, tmp_path):
    text = 'MODEL:\n  CONFIG_ADDERS: ["../keys.py:add_keys"]\n  STRANGER: {WIDTH: 5}\n'
    cfg = load_config(write(tmp_path, "mine.yaml", text))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.yaml").write_text(cfg.dump())
    again = load_config(str(tmp_path / "elsewhere" / "config.yaml"))
    assert [f"{adder}:add_keys"] == again.MODEL.CONFIG_ADDERS == cfg.MODEL.CONFIG_ADDERS
    assert again.MODEL.STRANGER.WIDTH == 5


def test_keys_that_are_there_keep_their_values_when_a_second_file_names_the_adder(adder, tmp_path):
    text = 'MODEL:\n  CONFIG_ADDERS: ["../keys.py:add_keys"]\n'
    cfg = load_config(write(tmp_path, "mine.yaml", f"{text}  STRANGER: {{WIDTH: 5}}\n"))
    merge_config(cfg, write(tmp_path, "more.yaml", text))
    assert cfg.MODEL.STRANGER.WIDTH == 5
    assert len(module_of(adder).calls) == 1


HEAD = """
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

@SEM_SEG_HEADS_REGISTRY.register()
class {name}:
    pass
"""


def test_a_file_is_imported_once_under_whatever_name_and_path(tmp_path, monkeypatch):
    """Registering a head a second time would be an error."""
    head = tmp_path / "strangers_first_head.py"
    head.write_text(HEAD.format(name="StrangersFirstHead"))
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link"):
        load_config("", ["MODEL.IMPORTS", str(folder / head.name)])
    assert SEM_SEG_HEADS_REGISTRY.get("StrangersFirstHead") is module_of(head).StrangersFirstHead
    (tmp_path / "strangers_head.py").write_text(HEAD.format(name="HeadOfAFile"))
    monkeypatch.syspath_prepend(tmp_path)
    import strangers_head  # as a script does

    load_config("", ["MODEL.IMPORTS", str(tmp_path / "strangers_head.py")])
    assert SEM_SEG_HEADS_REGISTRY.get("HeadOfAFile") is strangers_head.HeadOfAFile


def test_the_configs_folder_is_not_put_on_the_path(tmp_path):
    write(tmp_path, "strangers_module.py", "")
    before = list(sys.path)
    with pytest.raises(ValueError, match="PYTHONPATH"):
        load_config(write(tmp_path, "mine.yaml", 'MODEL: {IMPORTS: ["strangers_module"]}'))
    assert sys.path == before


def test_each_import_is_a_line_of_the_log(adder, tmp_path, caplog):
    text = 'MODEL:\n  IMPORTS: ["json"]\n  CONFIG_ADDERS: ["../keys.py:add_keys"]\n'
    cfg = load_config(write(tmp_path, "mine.yaml", text))
    logger = logging.getLogger("cffm_plugin.foreign_parts")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="cffm_plugin.foreign_parts"):
            log_foreign_parts(cfg.MODEL.IMPORTS, cfg.MODEL.CONFIG_ADDERS)
    finally:
        logger.removeHandler(caplog.handler)
    assert "MODEL.IMPORTS: imported json" in caplog.text
    assert f"MODEL.CONFIG_ADDERS: keys were added by {adder}:add_keys" in caplog.text


@pytest.mark.parametrize(
    "lists, message",
    [
        ('IMPORTS: ["nowhere.py"]', r"MODEL\.IMPORTS: \"nowhere\.py\": there is no file /.*nowher"),
        ('IMPORTS: ["no_such.part"]', r"\"no_such\.part\".*No module named.*PYTHONPATH.*file\.py"),
        ('IMPORTS: ["../broken.py"]', r"broken\.py\": .*NameError: .*undefined_name.*Correct it"),
        ('IMPORTS: ["../needy.py"]', r"needy\.py\".*Install no_such_library"),
        ('IMPORTS: ["../leaves.py"]', r"leaves\.py\": it can't be imported \(SystemExit"),
        ('IMPORTS: ["../inside.py"]', r"name it as a module, \"package\.module\""),
        ("IMPORTS: 7", r"MODEL\.IMPORTS: expected a list of \"package\.module\""),
        ("IMPORTS: (broken.py)", r"expected a list of.*got '\(broken\.py\)'"),
        ('IMPORTS: [""]', "this is not a name"),
        ('CONFIG_ADDERS: ["../keys.py"]', r"CONFIG_ADDERS: .*Write .*file\.py:function"),
        ('CONFIG_ADDERS: ["../keys.py:add_kyes"]', "no function add_kyes. Did you mean add_keys"),
        ('CONFIG_ADDERS: ["../keys.py:fails"]', r"fails\": it failed.*KeyError: 'oh'"),
    ],
)
def test_what_cannot_be_imported_is_an_error_that_says_what_to_do(adder, tmp_path, lists, message):
    adder.write_text(f"{ADDER}\ndef fails(cfg):\n    raise KeyError('oh')\n")
    (tmp_path / "broken.py").write_text("undefined_name")
    (tmp_path / "needy.py").write_text("import no_such_library")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)")
    (tmp_path / "inside.py").write_text("from .sibling import part")
    with pytest.raises(ValueError, match=message) as error:
        load_config(write(tmp_path, "mine.yaml", f"MODEL:\n  {lists}\n"))
    assert "mine.yaml: MODEL." in str(error.value)


def test_a_wrong_entry_of_the_command_line_and_a_key_of_nobody_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match=r"command line: MODEL\.IMPORTS.*folder that the command"):
        load_config("", ["MODEL.IMPORTS", "nowhere.py"])
    with pytest.raises(KeyError, match=r"MODEL\.POINT_HEAD.*name the function.*CONFIG_ADDERS"):
        load_config(write(tmp_path, "mine.yaml", "MODEL: {POINT_HEAD: {NUM_CLASSES: 3}}"))


def test_keys_of_pointrend_merge_from_a_file_and_from_the_command_line(tmp_path):
    """A key of ours was called INPUT.COLOR_AUG_SSD; PointRend has one of that name."""
    adders = "MODEL:\n  CONFIG_ADDERS: ['detectron2.projects.point_rend:add_pointrend_config']\n"
    text = f"{adders}  POINT_HEAD: {{NUM_CLASSES: 7}}\nINPUT: {{COLOR_AUG_SSD: True}}\n"
    overrides = ["INPUT.COLOR_AUG_SSD", "True", "MODEL.POINT_HEAD.NUM_CLASSES", "7"]
    for written, keys in ((text, []), (adders, overrides)):
        cfg = load_config(write(tmp_path, "mine.yaml", written), keys)
        assert cfg.INPUT.COLOR_AUG_SSD and cfg.MODEL.POINT_HEAD.NUM_CLASSES == 7


@pytest.mark.parametrize("name", ["panoptic_deeplab", "point_rend", "deeplab"])
def test_detectron2s_projects_add_their_keys(name):
    function = {"point_rend": "add_pointrend_config"}.get(name, f"add_{name}_config")
    entry = f"detectron2.projects.{name}:{function}"
    cfg = load_config(
        "", ["MODEL.CONFIG_ADDERS", entry, "MODEL.IMPORTS", f"detectron2.projects.{name}"]
    )
    assert [entry] == cfg.MODEL.CONFIG_ADDERS


def test_a_config_without_the_keys_imports_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("something is imported")

    monkeypatch.setattr("cffm_plugin.foreign_parts._import", refuse)
    cfg = load_config(write(tmp_path, "mine.yaml", "SEED: 3"))
    fresh = get_cfg()
    add_cffm_config(fresh)
    fresh.SEED = 3
    assert cfg == fresh


REPLACING = """
from detectron2.config import CfgNode

def add_keys(cfg):
    cfg.WANDB = CfgNode({"PROJECT": "theirs", "NAME": None, "EXTRA": 3})

def add_a_value(cfg):
    cfg.WANDB = "theirs"
"""


@pytest.mark.parametrize("order", ["ours first", "theirs first", "by a config"])
def test_a_node_that_anothers_function_makes_anew_has_both_projects_keys(order, tmp_path):
    """As OneFormer's function does it with WANDB."""
    file = tmp_path / "keys.py"
    file.write_text(REPLACING)
    scope = {}
    exec(REPLACING, scope)
    if order == "by a config":
        cfg = load_config("", ["MODEL.CONFIG_ADDERS", f"{file}:add_keys"])
    else:
        cfg = get_cfg()
        functions = [add_cffm_config, scope["add_keys"]]
        for function in functions if order == "ours first" else reversed(functions):
            function(cfg)
        cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "CFFMSegmentor", "cpu"
        complete_config(cfg)
    assert (cfg.WANDB.PROJECT, cfg.WANDB.NAME, cfg.WANDB.EXTRA) == ("theirs", None, 3)
    assert cfg.WANDB.ENABLED is False and cfg.WANDB.TAGS == ()


def test_a_node_that_becomes_a_value_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "keys.py"
    file.write_text(REPLACING)
    with pytest.raises(ValueError, match=r"WANDB was replaced by 'theirs'.*ENABLED.*CONFIG_ADDERS"):
        load_config("", ["MODEL.CONFIG_ADDERS", f"{file}:add_a_value"])
