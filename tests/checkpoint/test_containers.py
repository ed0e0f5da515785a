"""Checkpoints as training loops of others write them: the weights are found, or it is said how."""

import logging
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from cffm_plugin.checkpoint import SegmentorCheckpointer, convert, read_state_dict, recognise


class Model(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Linear(2, 3)
        self.head = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))


class Settings:
    """Of a project's own: what Lightning stores as hyperparameters."""


def weights(prefix=""):
    return OrderedDict((prefix + name, value) for name, value in Model(1).state_dict().items())


def assert_loads(path):
    model = Model()
    SegmentorCheckpointer(model, require_all=True).load(str(path))
    for name, value in weights().items():
        assert torch.equal(model.state_dict()[name], value), name


AVERAGE = OrderedDict((name, torch.zeros_like(value)) for name, value in weights().items())
LIGHTNING = {"epoch": 3, "pytorch-lightning_version": "2.6.0", "callbacks": {}, "loops": {}}


@pytest.mark.parametrize(
    "stored",
    [
        weights(),
        {"model": weights(), "iteration": 5},
        {"state_dict": weights(), "meta": {"epoch": 1}},
        {"model_state_dict": weights(), "optimizer_state_dict": {"state": {}, "lr": 0.1}},
        {"model_state": weights()},
        {"module": weights()},
        {"network": weights(), "step": torch.tensor(1)},
        {"model": {"state_dict": weights()}},
        {"ema": weights()},
        {"state_dict": weights("module.")},
        {"state_dict": weights("model."), **LIGHTNING},
        {"state_dict": weights("net.model."), **LIGHTNING, "hyper_parameters": {"lr": 0.1}},
        {"state_dict": weights("model.") | {"criterion.weight": torch.ones(2)}, **LIGHTNING},
        {"model": weights("_orig_mod.")},
        {"model": weights("module._orig_mod.")},
        {n.replace("head.", "head._orig_mod."): value for n, value in weights().items()},
    ],
    ids=lambda stored: f"{list(stored)[0]} {list(next(iter(stored.values())))[:1]}"[:40],
)
def test_the_weights_of_other_training_loops_load(tmp_path, stored):
    torch.save(stored, tmp_path / "theirs.ckpt")
    assert_loads(tmp_path / "theirs.ckpt")


def test_of_weights_and_their_average_it_is_said_which_are_taken_and_how_to_take_the_others(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_ema": AVERAGE, "model": weights()}, tmp_path / "both.pth")
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        assert_loads(tmp_path / "both.pth")
    assert "holds weights under model, model_ema; those of model are taken" in caplog.text
    run(caplog.records[-1].getMessage())
    assert read_state_dict("weights.pth").keys() == AVERAGE.keys()
    assert not any(value.any() for value in read_state_dict("weights.pth").values())


def test_weights_that_are_there_twice_are_an_error_whose_lines_take_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twice = weights("student.") | OrderedDict(("teacher." + n, v) for n, v in AVERAGE.items())
    torch.save({"state_dict": twice}, tmp_path / "twice.ckpt")
    with pytest.raises(
        ValueError, match=r"twice\.ckpt holds .* 2 times, under student\., teach"
    ) as e:
        SegmentorCheckpointer(Model()).load("twice.ckpt")
    run(str(e.value))
    assert_loads("weights.pth")


def test_a_file_without_weights_says_what_it_has(tmp_path):
    torch.save({"generator": {"w": {"x": 1}}, "epoch": 3}, tmp_path / "none.pth")
    for read in (SegmentorCheckpointer(Model()).load, read_state_dict):
        with pytest.raises(ValueError, match=r"none\.pth.*'generator' \(dict\), 'epoch' \(int\)"):
            read(str(tmp_path / "none.pth"))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", None])
def test_the_advice_on_a_file_with_objects_works_to_the_letter(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    model = Model(1)
    stored = {key: model.state_dict(), "hyper_parameters": Settings()} if key else model
    torch.save(stored, tmp_path / "objects.ckpt")
    with pytest.raises(ValueError, match=r"objects\.ckpt.*asks for [\w.]*test_containers") as error:
        SegmentorCheckpointer(Model()).load("objects.ckpt")
    assert "\x1b" not in str(error.value)
    run(str(error.value))
    assert_loads("weights.pth")


def run(message):
    """The lines of Python in a message, as a person copies them: of a file of their own."""
    (lines,) = re.findall(r"import torch; .*'weights\.pth'\)", message)
    exec(lines, {})


def test_converting_and_loading_agree_on_names_behind_a_prefix():
    encoder = {"patch_embed1.proj.weight": torch.ones(1), "block1.0.norm1.weight": torch.ones(1)}
    ours = {"sem_seg_head.predictor.weight": torch.ones(1)}
    for prefix in ("", "model.", "net.encoder."):
        known = {prefix + name: value for name, value in encoder.items()}
        assert recognise(known) == recognise(encoder)
        assert convert(known).weights.keys() == convert(encoder).weights.keys()
        with pytest.raises(ValueError, match="own names already: use it as MODEL.WEIGHTS"):
            recognise([prefix + name for name in ours])
