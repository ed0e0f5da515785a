"""From an image segmentor, trained by detectron2's own trainer, to a video segmentor."""

import pytest
import torch
from detectron2.engine import DefaultTrainer

from cffm_plugin.engine import CFFMTrainer

CLASSES = 4
STEPS = 10


class ImageTrainer(DefaultTrainer):
    """detectron2's trainer on single images; of this package it knows at most the backbone."""

    @classmethod
    def build_train_loader(cls, cfg):
        generator = torch.Generator().manual_seed(0)
        while True:
            yield [
                {
                    "image": torch.randint(0, 256, (3, 48, 64), generator=generator),
                    "sem_seg": torch.randint(0, CLASSES, (48, 64), generator=generator),
                }
                for _ in range(2)
            ]


def under_segformers_head(cfg):
    """BatchNorm in the head; the backbone has LayerNorm."""


def under_fpn_head(cfg):
    """BatchNorm in detectron2's ResNet-FPN and in its SemSegFPNHead."""
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["p2", "p3", "p4", "p5"]


@pytest.fixture(params=[under_segformers_head, under_fpn_head])
def cfg(cfg, request):
    request.param(cfg)
    cfg.DATASETS.TEST = ()
    return cfg


@pytest.fixture
def image_trainer(cfg, tmp_path):
    """A SemanticSegmentor after two steps, saved to the trainer's own folder."""
    image_cfg = cfg.clone()
    image_cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    image_cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupMultiStepLR"  # detectron2's own
    image_cfg.SOLVER.MAX_ITER = 2
    image_cfg.OUTPUT_DIR = str(tmp_path / "image")
    trainer = ImageTrainer(image_cfg)
    trainer.train()
    return trainer


def video_trainer_from(image_trainer, cfg):
    cfg.MODEL.WEIGHTS = f"{image_trainer.cfg.OUTPUT_DIR}/model_final.pth"
    trainer = CFFMTrainer(cfg)
    trainer.resume_or_load(resume=False)
    return trainer


def test_detectron2s_checkpoint_loads_whole_and_gives_the_same_bits(image_trainer, cfg):
    trainer = video_trainer_from(image_trainer, cfg)
    saved = torch.load(cfg.MODEL.WEIGHTS, weights_only=False)["model"]
    loaded = trainer.model.state_dict()
    missing, unexpected = set(loaded) - set(saved), set(saved) - set(loaded)
    assert {name.split(".")[0] for name in missing} == {"temporal"}
    assert not unexpected
    assert any(name.endswith("running_mean") for name in saved)
    for name, tensor in saved.items():
        assert torch.equal(loaded[name], torch.as_tensor(tensor)), name

    frame = torch.randint(0, 256, (3, 50, 70))
    with torch.no_grad():
        (expected,) = image_trainer.model.eval()([{"image": frame}])
        (ours,) = trainer.model.eval()([{"image": [frame]}])
    assert torch.equal(ours["sem_seg"], expected["sem_seg"])


def test_a_frozen_image_segmentor_keeps_its_bits_while_the_temporal_part_trains(image_trainer, cfg):
    cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER = True
    cfg.SOLVER.MAX_ITER = STEPS
    trainer = video_trainer_from(image_trainer, cfg)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.train()
    assert trainer.iter == STEPS
    for name, tensor in trainer.model.state_dict().items():  # BatchNorm's statistics among them
        changed = not torch.equal(tensor, before[name])
        assert changed == name.startswith("temporal."), name


def test_wrapped_and_not_trained_it_evaluates_as_the_image_segmentor(
    image_trainer, cfg, tiny_vspw, tmp_path
):
    cfg.MODEL.WEIGHTS = f"{image_trainer.cfg.OUTPUT_DIR}/model_final.pth"
    cfg.MODEL.TEMPORAL.OUTPUT = "refine"
    cfg.DATASETS.TEST = (tiny_vspw.val,)
    cfg.TEST.SAVE_PREDICTIONS = True
    results, label_maps = [], []
    for enabled in (False, True):
        cfg.MODEL.TEMPORAL.ENABLED = enabled
        cfg.OUTPUT_DIR = str(tmp_path / str(enabled))
        trainer = CFFMTrainer(cfg)
        trainer.resume_or_load(resume=False)
        results.append(CFFMTrainer.test(cfg, trainer.model))
        files = sorted((tmp_path / str(enabled)).rglob("result_submission/*/*.png"))
        label_maps.append([file.read_bytes() for file in files])
    assert repr(results[0]) == repr(results[1])
    assert len(label_maps[0]) > 4 and label_maps[0] == label_maps[1]
