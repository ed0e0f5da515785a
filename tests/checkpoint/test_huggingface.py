"""Hugging Face's SegFormer: the same function on the same weights, from every kind of file."""

import re
from pathlib import Path

import golden_cases
import pytest
import torch
from detectron2.modeling import build_model

from cffm_plugin.checkpoint import (
    SegmentorCheckpointer,
    config_for,
    convert,
    overrides_for,
    read_state_dict,
    sizes_of,
    verify_complete,
)
from cffm_plugin.config import load_config

transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
B0 = {"depths": [2, 2, 2, 2], "hidden_sizes": [32, 64, 160, 256], "decoder_hidden_size": 256}
BLOCK_OR_STAGE_NORM = re.compile(r".*(layernorm_before|layernorm_after|stages\.\d\.layer_norm)")


def build(kind, **sizes):
    """A model of transformers with B0's sizes and deterministic weights and statistics."""
    model = getattr(transformers, kind)(transformers.SegformerConfig(**(B0 | sizes))).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(golden_cases.state_dict(shapes))
    return model


def with_published_eps(model):
    """Give block and stage norms the epsilon that the weights were published with, 1e-6.

    transformers 5.23 builds every LayerNorm with torch's 1e-5, whatever `layer_norm_eps` says.
    """
    norms = [m for name, m in model.named_modules() if BLOCK_OR_STAGE_NORM.fullmatch(name)]
    assert len(norms) == 2 * 8 + 4  # two per block, one per stage
    for norm in norms:
        norm.eps = 1e-6
    return model


@pytest.fixture(scope="module")
def segmentor():
    return build("SegformerForSemanticSegmentation", num_labels=7)


@pytest.fixture(scope="module")
def hub_folder(segmentor, tmp_path_factory):
    """The segmentor as the hub has it: a folder with config.json and model.safetensors."""
    folder = tmp_path_factory.mktemp("segformer-b0")
    segmentor.save_pretrained(folder)
    return folder


def load_through_our_config(weights, path):
    """What a user does: convert, write, load with the config and the overrides of the hint."""
    torch.save({"model": weights}, path)
    sizes = sizes_of(weights)
    config = str(ROOT / config_for(sizes))
    overrides = overrides_for(sizes, load_config(config))
    cfg = load_config(config, [*overrides, "MODEL.DEVICE", "cpu"])
    model = build_model(cfg).eval()
    SegmentorCheckpointer(model, require_all=True).load(str(path))
    return model


def test_logits_agree_with_transformers(segmentor, hub_folder, tmp_path):
    conversion = convert(read_state_dict(hub_folder))
    assert conversion.source == "Hugging Face SegFormer" and not conversion.dropped
    model = load_through_our_config(conversion.weights, tmp_path / "converted.pth")
    images = golden_cases.normal(0, (2, 3, 64, 96))
    with torch.no_grad():
        ours = model.classify(model.encode_padded(images, (64, 96))).logits()
        theirs = segmentor(images).logits
        published = build("SegformerForSemanticSegmentation", num_labels=7)
        exact = with_published_eps(published)(images).logits
    assert ours.shape == (2, 7, 16, 24) and ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours, exact, rtol=0, atol=1e-5)  # the epsilons were all that differs


def test_every_kind_of_file_converts_to_the_same_weights(segmentor, hub_folder, tmp_path):
    published_names = read_state_dict(hub_folder)
    assert "segformer.encoder.block.0.0.attention.self.query.weight" in published_names
    torch.save(published_names, tmp_path / "pytorch_model.bin")
    torch.save(segmentor.state_dict(), tmp_path / "modules.pth")  # transformers 5's own names
    expected = convert(published_names).weights
    for path in (tmp_path, tmp_path / "pytorch_model.bin", tmp_path / "modules.pth"):
        weights = convert(read_state_dict(path)).weights
        assert weights.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(weights[name], tensor), (path, name)


def test_keys_come_before_values(hub_folder):
    theirs = read_state_dict(hub_folder)
    ours = convert(theirs).weights["backbone.block3.1.attn.kv.weight"]
    attention = "segformer.encoder.block.2.1.attention.self."
    assert torch.equal(ours[:160], theirs[attention + "key.weight"])
    assert torch.equal(ours[160:], theirs[attention + "value.weight"])


@pytest.mark.parametrize("kind", ["SegformerModel", "SegformerForImageClassification"])
@pytest.mark.parametrize("names", ["of files", "of modules"])
def test_imagenet_encoders_agree_stage_by_stage(kind, names, tmp_path):
    """`nvidia/mit-b0` is the image classifier; SegformerModel saves without the prefix."""
    theirs = with_published_eps(build(kind))
    theirs.save_pretrained(tmp_path)
    weights = read_state_dict(tmp_path) if names == "of files" else theirs.state_dict()
    conversion = convert(weights)
    with_classifier = kind == "SegformerForImageClassification"
    assert set(conversion.dropped) == (
        {"classifier.weight", "classifier.bias"} if with_classifier else set()
    )
    verify_complete(conversion.weights)

    model = build_model(load_config(str(ROOT / "configs/vspw/cffm_mit_b0.yaml"), CPU)).eval()
    torch.save({"model": conversion.weights}, tmp_path / "mit_b0.pth")
    SegmentorCheckpointer(model).load(str(tmp_path / "mit_b0.pth"))
    images = golden_cases.normal(1, (1, 3, 64, 64))
    with torch.no_grad():
        ours = model.backbone(images)
        stages = theirs(images, output_hidden_states=True).hidden_states
    assert len(stages) == len(ours) == 4
    for mine, stage in zip(ours.values(), stages):
        torch.testing.assert_close(mine, stage, rtol=0, atol=1e-5)


CPU = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]


def test_the_wide_decoder_of_b2_to_b5_is_recognised(segmentor_weights):
    """`nvidia/segformer-b2-finetuned-ade-512-512`: 150 classes, decoder_hidden_size 768."""
    config = transformers.SegformerConfig(
        depths=[3, 4, 6, 3],
        hidden_sizes=[64, 128, 320, 512],
        decoder_hidden_size=768,
        num_labels=150,
    )
    with torch.device("meta"):
        theirs = transformers.SegformerForSemanticSegmentation(config).state_dict()
    conversion = convert(theirs)
    expected = {n: t.shape for n, t in segmentor_weights("mit_b2", 150, 768).items()}
    assert {n: t.shape for n, t in conversion.weights.items()} == expected
    verify_complete(conversion.weights)
