"""Meta-architectures of others in our trainer: what can't take clips says what to write."""

import mask2former
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor
from tiny_models import make_clip
from torch import nn

from cffm_plugin.config import load_config
from cffm_plugin.engine import CFFMTrainer, complete_config
from cffm_plugin.engine.foreign_models import explain_clips
from cffm_plugin.inference import StreamingSegmentor


@META_ARCH_REGISTRY.register()
class RenamedSegmentor(SemanticSegmentor):
    """A subclass that takes what its base takes."""


@META_ARCH_REGISTRY.register()
class ClipSegmentor(SemanticSegmentor):
    """A video segmentor: it has a forward of its own."""

    def forward(self, batched_inputs):
        return [{"sem_seg": item["image"][-1]} for item in batched_inputs]


@META_ARCH_REGISTRY.register()
class FailingSegmentor(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batched_inputs):
        return [item["image"].to(self.weight) for item in batched_inputs]


def config_of(name):
    return load_config("", ["MODEL.META_ARCHITECTURE", name, "MODEL.DEVICE", "cpu"])


@pytest.mark.parametrize("name", ["RenamedSegmentor", "PanopticFPN", "RetinaNet"])
def test_what_has_the_forward_of_detectron2s_is_refused_before_anything_is_built(name):
    wanted = rf"is {name}, which takes images.*CFFMSegmentor and MODEL\.IMAGE_ARCHITECTURE {name}:"
    with pytest.raises(ValueError, match=wanted):
        complete_config(config_of(name))


def test_a_video_segmentor_of_anothers_takes_its_clips(tiny_cffm_cfg):
    tiny_cffm_cfg.MODEL.META_ARCHITECTURE = "ClipSegmentor"
    complete_config(tiny_cffm_cfg)
    clip = make_clip((64, 96))
    (output,) = CFFMTrainer.build_model(tiny_cffm_cfg)([clip])
    assert torch.equal(output["sem_seg"], clip["image"][-1])


@pytest.mark.parametrize("name", ["FailingSegmentor", "MaskFormer"])
def test_what_fails_at_a_clip_names_the_key_and_what_to_write(name, tiny_cffm_cfg):
    cfg = tiny_cffm_cfg
    mask2former.add_maskformer2_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.SEM_SEG_HEAD.NAME = name, "MaskFormerHead"
    cfg.DATASETS.TRAIN = ("vspw_train",)
    complete_config(cfg)
    model = CFFMTrainer.build_model(cfg)
    said = rf"META_ARCHITECTURE {name} failed at a clip.*Error: .*IMAGE_ARCHITECTURE {name}:"
    with pytest.raises(ValueError, match=said):
        model([make_clip((64, 96))])


def test_streams_of_another_architecture_are_told_what_to_write(tiny_cffm_cfg):
    tiny_cffm_cfg.MODEL.META_ARCHITECTURE = "ClipSegmentor"
    with pytest.raises(ValueError, match=r"is ClipSegmentor, and streams.*ARCHITECTURE CFFMSegm"):
        StreamingSegmentor(tiny_cffm_cfg)


def test_an_error_at_a_single_image_stays_what_it_is():
    model = nn.Identity()
    model.forward = lambda batched_inputs: batched_inputs[0]["image"].no_such_thing
    explain_clips(model, "Theirs")
    with pytest.raises(AttributeError, match="no_such_thing"):
        model([{"image": torch.zeros(3, 4, 4)}])
