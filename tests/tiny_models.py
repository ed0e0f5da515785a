"""Segmentors and clips that a test can afford to run."""

import torch
from detectron2.modeling import build_model
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead

from cffm_plugin.modeling import MiT, SegFormerHead
from cffm_plugin.modeling.backbone import MIT_VARIANTS

NUM_CLASSES = 6
PIXELS = {"pixel_mean": [120.0, 115.0, 100.0], "pixel_std": [58.0, 57.0, 56.0]}


def make_parts(head="segformer"):
    torch.manual_seed(0)
    backbone = MiT(MIT_VARIANTS["mit_tiny"], size_divisibility=0 if head == "segformer" else 32)
    if head == "segformer":
        built = SegFormerHead(
            backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
        )
    else:
        built = SemSegFPNHead(
            backbone.output_shape(),
            num_classes=NUM_CLASSES,
            conv_dims=32,
            common_stride=4,
            norm="GN",
            ignore_value=255,
        )
    return {"backbone": backbone, "sem_seg_head": built, **PIXELS}


def build_varied(cfg):
    """The model of a config with weights by which its predictions vary."""
    torch.manual_seed(0)
    model = build_model(cfg)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def make_clip(size=(64, 96), frames=4, labels=False, **extra):
    clip = {"image": [torch.randint(0, 256, (3, *size)).float() for _ in range(frames)], **extra}
    if labels:
        clip["sem_seg"] = [torch.randint(0, NUM_CLASSES, size) for _ in range(frames)]
    return clip


def void_of(clip, ignore_value=255):
    """The clip with frames that are labelled as void throughout."""
    return clip | {"sem_seg": [torch.full_like(label, ignore_value) for label in clip["sem_seg"]]}


def assert_void_trains_nothing(model, clip, ignore_value=255):
    """A clip of void has the losses of others, all 0, with gradients of 0 for what others train:
    what several processes need, of which one has nothing but void."""

    def losses_and_gradients(*clips):
        model.zero_grad(set_to_none=True)
        losses = model(list(clips))
        sum(losses.values()).backward()
        return losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    losses, gradients = losses_and_gradients(clip)
    of_void, none = losses_and_gradients(void_of(clip, ignore_value))
    assert all(loss > 0 for loss in losses.values())
    assert list(of_void) == list(losses)
    assert all(loss == 0 for loss in of_void.values()), of_void
    assert none.keys() == gradients.keys()
    assert all((gradient == 0).all() for gradient in none.values())
    both, _ = losses_and_gradients(clip, void_of(clip, ignore_value))
    assert list(both) == list(losses)
    assert all(loss.isfinite() and loss > 0 for loss in both.values())
