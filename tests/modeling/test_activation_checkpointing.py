"""Activation checkpointing changes memory, not gradients."""

import pytest
import torch
from tiny_models import NUM_CLASSES, PIXELS, make_clip, make_parts

from cffm_plugin import CFFM
from cffm_plugin.core.mit import MiTBlock
from cffm_plugin.modeling import CFFMSegmentor, SegFormerHead, TemporalHead, TimmBackbone


def make_model(parts, **options):
    torch.manual_seed(0)
    temporal = TemporalHead(CFFM(32, 2, num_heads=4), num_classes=NUM_CLASSES, output="classifier")
    return CFFMSegmentor(**parts, temporal=temporal, **options).train()


def gradients(model, clip):
    torch.manual_seed(1)  # of dropout and stochastic depth
    model.zero_grad()
    sum(model([clip]).values()).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_mit_and_cffm_have_the_same_gradients_and_compute_blocks_again():
    clip = make_clip(labels=True)
    expected = gradients(make_model(make_parts()), clip)
    model = make_model(make_parts(), activation_checkpointing=True)
    calls = []
    for block in model.modules():
        if isinstance(block, MiTBlock):
            block.register_forward_pre_hook(lambda *_: calls.append(1))
    found = gradients(model, clip)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])
    assert len(calls) == 2 * 4  # four blocks, forward and again for backward


def test_inference_computes_nothing_twice():
    model = make_model(make_parts(), activation_checkpointing=True).eval()
    calls = []
    model.backbone.block1[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model([{"image": make_clip()["image"][0]}])
    assert len(calls) == 1


def test_timm_models_offer_it_too():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_convnext")
    head = SegFormerHead(
        backbone.output_shape(), num_classes=NUM_CLASSES, embedding_channels=32, norm="BN"
    )
    parts = {"backbone": backbone, "sem_seg_head": head, **PIXELS}
    clip = make_clip(labels=True)
    expected = gradients(make_model(parts), clip)
    found = gradients(make_model(parts, activation_checkpointing=True), clip)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


def test_a_backbone_without_it_is_an_error():
    parts = make_parts()
    parts["backbone"].__class__ = type("Strange", (torch.nn.Module,), {})
    with pytest.raises(ValueError, match="Strange does not offer it"):
        make_model(parts, activation_checkpointing=True)
