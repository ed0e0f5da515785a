"""cffm predict: label maps of videos, with a model by name."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image
from stub_hub import stub_hub  # noqa: F401  (a fixture)

from cffm_plugin.cli.demo import main as demo
from cffm_plugin.cli.predict import main as predict
from cffm_plugin.hub import save_pretrained

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def published(tiny_cffm_cfg, stub_hub):  # noqa: F811
    """A repository of the hub with a tiny model whose predictions vary."""
    torch.manual_seed(0)
    model = build_model(tiny_cffm_cfg)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    save_pretrained(model, tiny_cffm_cfg, stub_hub.root / "a" / "b")
    return "hf://a/b"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr("cffm_plugin.cli.work.demo.log_to_terminal", lambda: None)


def label_maps(folder):
    return {file.name: np.array(Image.open(file)) for file in sorted(folder.iterdir())}


def test_it_writes_the_label_maps_of_the_demo_by_a_models_name_alone(
    published, tiny_vspw, tmp_path
):
    frames = str(tiny_vspw.root / "data" / "v0" / "origin")
    weights = ("--opts", "MODEL.WEIGHTS", published)
    assert predict(["--input", frames, "--masks", str(tmp_path / "p"), *weights]) == 0
    assert demo(["--input", frames, "--masks", str(tmp_path / "d"), *weights]) == 0
    ours, theirs = label_maps(tmp_path / "p"), label_maps(tmp_path / "d")
    assert list(ours) == list(theirs) and len(ours) == tiny_vspw.lengths["v0"]
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert len(np.unique(list(ours.values()))) > 1
    assert {path.name for path in tmp_path.iterdir()} >= {"p", "d"}


def test_errors_of_the_hub_are_messages(tiny_vspw, tmp_path, stub_hub):  # noqa: F811
    frames = str(tiny_vspw.root / "data" / "v0" / "origin")
    with pytest.raises(SystemExit, match="hf://a/none/model.safetensors can't be had"):
        predict(
            ["--input", frames, "--masks", str(tmp_path / "p"), "--opts"]
            + ["MODEL.WEIGHTS", "hf://a/none"]
        )
    assert not (tmp_path / "p").exists()
