"""Pictures and curves of a training: that they are there, and that training does not notice."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.evaluation.testing import flatten_results_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cffm_plugin.data import build_clip_train_loader
from cffm_plugin.engine import CFFMTrainer
from cffm_plugin.engine.clip_pictures import predict_clip


@pytest.fixture
def recipe(cfg):
    """With all that is random, and nothing seeded anew at every step."""
    cfg.SEED = -1
    cfg.MODEL.TEMPORAL.NAME = "CFFMRecall"  # counts its forward passes
    cfg.MODEL.TEMPORAL.OUTPUT = "refine"
    cfg.MODEL.MIT.DROP_PATH_RATE = 0.3
    cfg.MODEL.SEM_SEG_HEAD.DROPOUT = 0.3
    cfg.DATASETS.TEST = ()
    return cfg


def train(cfg, folder, **keys):
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    cfg.OUTPUT_DIR = str(folder)
    for key, value in keys.items():
        setattr(cfg, key, value)
    trainer = CFFMTrainer(cfg)
    trainer.train()
    return trainer


def events(folder):
    (file,) = Path(folder).glob("events.*")
    return EventAccumulator(str(file), size_guidance={"images": 0}).Reload()


def test_training_with_pictures_gives_the_same_bits(recipe, tmp_path):
    weights = []
    for period in (0, 1):
        folder = tmp_path / str(period)
        train(recipe, folder, VIS_PERIOD=period)
        weights.append(torch.load(folder / "model_final.pth", weights_only=True)["model"])
    without, with_pictures = weights
    assert without.keys() == with_pictures.keys()
    for name, tensor in without.items():  # buffers of BatchNorm and counters among them
        assert torch.equal(tensor, with_pictures[name]), name


def test_pictures_of_inputs_and_predictions_are_in_tensorboard(recipe, tmp_path):
    train(recipe, tmp_path, VIS_PERIOD=2)
    found = events(tmp_path)
    assert set(found.Tags()["images"]) == {"input/0", "input/1", "predictions"}
    assert [e.step for e in found.Images("input/1")] == [0]
    assert [e.step for e in found.Images("predictions")] == [1, 3]
    one, other = found.Images("input/0")[0], found.Images("predictions")[0]
    frame = 160  # crops of 32 pixels are enlarged to that
    assert other.height >= one.height + 2 * frame  # two rows more


def test_without_a_period_there_are_no_pictures(recipe, tmp_path):
    train(recipe, tmp_path, VIS_PERIOD=0)
    assert events(tmp_path).Tags()["images"] == []


@pytest.mark.parametrize("temporal", [True, False])
def test_predictions_are_those_of_the_model_in_evaluation(recipe, temporal):
    recipe.MODEL.TEMPORAL.ENABLED = temporal
    model = CFFMTrainer.build_model(recipe).train()
    clip = next(iter(build_clip_train_loader(recipe)))[0]
    rows = predict_clip(model, clip)
    model.eval()
    with torch.no_grad():
        each = [model([{"image": frame}])[0]["sem_seg"].argmax(0) for frame in clip["image"]]
        whole = model([{"image": clip["image"]}])[0]["sem_seg"].argmax(0)
    for ours, expected in zip(rows["image segmentor"], each, strict=True):
        assert np.array_equal(ours, expected)
    if temporal:
        *references, target = rows["video segmentor"]
        assert references == [None, None, None]
        assert np.array_equal(target, whole)
    else:
        assert list(rows) == ["image segmentor"]


class Strangers(torch.nn.Module):
    """A model of clips that draws from every generator, with a part that stays in evaluation."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.frozen = torch.nn.Dropout().eval()

    def forward(self, clips):
        random.random(), np.random.rand(), torch.rand(1)
        return [{"sem_seg": self.norm(clip["image"][-1][None].float())[0]} for clip in clips]


def test_a_look_at_any_model_leaves_modes_generators_and_buffers_as_they_were():
    model = Strangers().train()
    model.frozen.eval()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    frames = [torch.rand(3, 4, 5) for _ in range(2)]
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    rows = predict_clip(model, {"image": frames, "sem_seg": [None, None]})
    assert rows["prediction"][0] is None and rows["prediction"][1].shape == (4, 5)
    assert model.training and model.norm.training and not model.frozen.training
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name])
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == state


def test_scores_of_periodic_evaluation_are_curves_in_tensorboard_and_metrics_json(cfg, tmp_path):
    cfg.SOLVER.MAX_ITER = 4
    cfg.TEST.EVAL_PERIOD = 2
    cfg.OUTPUT_DIR = str(tmp_path)
    trainer = CFFMTrainer(cfg)
    trainer.train()
    final = flatten_results_dict(trainer._last_eval_results)
    names = [f"sem_seg/{name}" for name in ("mIoU", "fwIoU", "mVC8", "mVC16")]
    found = events(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    for name in [*names, "temporal/TA8", "temporal/TA16"]:
        curve = found.Scalars(name)
        assert [e.step for e in curve] == [1, 4], name
        assert curve[-1].value == pytest.approx(final[name], rel=1e-6), name
        assert [line["iteration"] for line in lines if name in line] == [1, 4]
