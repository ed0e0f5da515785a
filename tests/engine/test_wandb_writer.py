"""Curves and pictures at Weights & Biases, with a module that stands for it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cffm_plugin.engine import CFFMTrainer


class FakeRun:
    def __init__(self, settings, number):
        self.settings, self.id = settings, settings["id"] or f"run{number}"
        self.logged, self.metrics, self.finished = [], [], 0

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def log(self, values):
        assert not self.finished
        self.logged.append(values)

    def finish(self):
        self.finished += 1

    def curve(self, name):
        return {values["iteration"]: values[name] for values in self.logged if name in values}


@pytest.fixture
def runs(monkeypatch):
    """The runs that are begun, in order."""
    begun = []

    def init(**settings):
        begun.append(FakeRun(settings, len(begun)))
        return begun[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Image=np.asarray))
    return begun


@pytest.fixture
def recipe(cfg):
    cfg.WANDB.ENABLED = True
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    return cfg


def train(cfg, resume=False):
    torch.manual_seed(0)
    trainer = CFFMTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def test_losses_scores_and_pictures_go_to_one_run(recipe, runs):
    recipe.VIS_PERIOD = 4
    recipe.WANDB.PROJECT, recipe.WANDB.NAME, recipe.WANDB.ENTITY = "videos", "first", "us"
    recipe.WANDB.TAGS = ("tiny",)
    trainer = train(recipe)
    (run,) = runs
    assert run.finished == 1
    settings = run.settings
    assert (settings["project"], settings["name"], settings["entity"]) == ("videos", "first", "us")
    assert settings["tags"] == ["tiny"] and settings["dir"] == recipe.OUTPUT_DIR
    assert settings["config"]["SOLVER.MAX_ITER"] == 4
    assert settings["id"] is None and settings["resume"] is None
    assert ("*", "iteration") in run.metrics
    assert list(run.curve("total_loss")) == [3]
    final = trainer._last_eval_results["sem_seg"]["mIoU"]
    assert run.curve("sem_seg/mIoU") == {4: pytest.approx(final)}
    assert run.curve("temporal/TA8").keys() == {4}
    (picture,) = run.curve("predictions").values()
    height, width, channels = picture.shape
    assert channels == 3 and min(height, width) > 300
    assert picture.dtype == np.uint8


def test_pictures_reach_tensorboard_as_well(recipe, runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe.VIS_PERIOD = 4
    train(recipe)
    (file,) = Path(recipe.OUTPUT_DIR).glob("events.*")
    assert "predictions" in EventAccumulator(str(file)).Reload().Tags()["images"]


def test_a_resumed_training_goes_on_in_the_same_run(recipe, runs):
    train(recipe)
    Path(recipe.OUTPUT_DIR, "last_checkpoint").write_text("model_0000001.pth")
    train(recipe, resume=True)
    first, second = runs
    assert list(second.curve("total_loss")) == [3]
    assert second.settings["id"] == first.id
    assert second.settings["resume"] == "allow"


def test_a_new_training_begins_a_new_run(recipe, runs):
    """Also in a folder where one died before its first checkpoint."""
    train(recipe)
    for checkpoint in Path(recipe.OUTPUT_DIR).glob("*.pth"):
        checkpoint.unlink()
    Path(recipe.OUTPUT_DIR, "last_checkpoint").unlink()
    train(recipe, resume=True)
    first, second = runs
    assert second.settings["id"] is None and second.id != first.id


def test_without_the_key_nothing_is_begun(recipe, runs):
    recipe.WANDB.ENABLED = False
    train(recipe)
    assert runs == []


def test_processes_but_the_main_one_write_nothing(recipe, runs, monkeypatch):
    monkeypatch.setattr("detectron2.utils.comm.is_main_process", lambda: False)
    trainer = CFFMTrainer(recipe)
    monkeypatch.undo()
    trainer.train()
    assert runs == []


def test_a_missing_wandb_is_an_error_before_training_that_says_what_to_install(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match=r"WANDB\.ENABLED True needs .*pip install wandb"):
        CFFMTrainer(recipe)
