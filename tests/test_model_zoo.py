"""Configs and models by name, as detectron2's model_zoo gives its own."""

import re
import shutil

import pytest
import torch
from detectron2.config import get_cfg
from fresh_process import ROOT

from cffm_plugin import add_cffm_config, model_zoo
from cffm_plugin.config import load_config

NAME = "quickstart/cffm"


def test_every_model_of_the_folder_configs_has_a_name_and_no_base_file_does():
    files = [f.relative_to(ROOT / "configs").as_posix() for f in (ROOT / "configs").rglob("*.yaml")]
    expected = {f.removesuffix(".yaml") for f in files if "/Base-" not in f}
    assert set(model_zoo.list_configs()) == expected
    assert any("/Base-" in file for file in files)


@pytest.mark.parametrize("name", model_zoo.list_configs())
def test_a_named_config_is_that_of_its_file_bases_included(name):
    expected = get_cfg()
    add_cffm_config(expected)
    expected.merge_from_file(str(ROOT / "configs" / f"{name}.yaml"))
    assert model_zoo.get_config(name) == expected


@pytest.mark.parametrize("written", [NAME, f"{NAME}.yaml", f"configs/{NAME}.yaml"])
def test_a_name_is_a_config_file_for_every_command_from_every_folder(
    written, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert model_zoo.get_config_file(written) == str(ROOT / "configs" / f"{NAME}.yaml")
    assert load_config(written) == model_zoo.get_config(NAME)


def test_the_example_of_the_page_runs_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "publishing.md").read_text()
    (example,) = re.findall(r"```python\n(from cffm_plugin import model_zoo\n.*?)```", page, re.S)
    names = {}
    exec(example, names)
    assert names["model"].sem_seg_head.predictor.out_channels == 124


def test_a_file_of_that_path_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    (tmp_path / f"{NAME}.yaml").write_text("SEED: 7\n")
    assert load_config(f"{NAME}.yaml").SEED == 7
    shutil.rmtree(tmp_path / "quickstart")
    assert load_config(f"{NAME}.yaml").SEED == model_zoo.get_config(NAME).SEED


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("vspw/cffm_mit_b7", "vspw/cffm_mit_b"), ("cffm_mit_b1", "vspw/cffm_mit_b1")],
)
def test_an_unknown_name_is_an_error_with_the_nearest(wrong, nearest):
    for function in (model_zoo.get_config, model_zoo.get, load_config):
        with pytest.raises(FileNotFoundError, match=f"{wrong}.*Nearest names: .*{nearest}"):
            function(wrong)


def test_a_config_of_the_hub_is_refused_and_the_error_says_what_to_do():
    with pytest.raises(ValueError, match=r"hf://a/b/config.yaml.*can name code.*checkpoint"):
        load_config("hf://a/b/config.yaml")


def test_a_name_without_published_weights_is_an_error_that_says_where_there_are_some():
    for function in (model_zoo.get_checkpoint_url, lambda name: model_zoo.get(name, trained=True)):
        with pytest.raises(RuntimeError, match=rf"published for {NAME}\..*MODEL_ZOO.md"):
            function(NAME)


def test_a_model_by_name_is_the_configs_and_trained_it_has_the_published_weights(
    tmp_path, monkeypatch
):
    model = model_zoo.get(NAME, device="cpu")
    assert model.sem_seg_head.predictor.out_channels == 10
    path = tmp_path / "published.pth"
    torch.save({"model": model.state_dict()}, path)
    monkeypatch.setitem(model_zoo.CHECKPOINTS, NAME, str(path))

    assert str(path) == model_zoo.get_config(f"{NAME}.yaml", trained=True).MODEL.WEIGHTS
    trained = model_zoo.get(f"{NAME}.yaml", trained=True, device="cpu")
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), trained.state_dict().values())
    )
    other = model_zoo.get(NAME, device="cpu").state_dict()
    assert not all(torch.equal(other[k], v) for k, v in model.state_dict().items())
