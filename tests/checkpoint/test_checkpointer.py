"""SegmentorCheckpointer on converted and on foreign files. More: tests/engine/test_trainer.py."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from cffm_plugin.checkpoint import SegmentorCheckpointer, is_classifier
from cffm_plugin.core import CFFM
from cffm_plugin.modeling import CFFMSegmentor, MiT, SegFormerHead, TemporalHead
from cffm_plugin.modeling.backbone import MIT_VARIANTS


def build(seed):
    torch.manual_seed(seed)
    backbone = MiT(MIT_VARIANTS["mit_tiny"])
    return CFFMSegmentor(
        backbone=backbone,
        sem_seg_head=SegFormerHead(
            backbone.output_shape(), num_classes=5, embedding_channels=16, norm="BN"
        ),
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        temporal=TemporalHead(CFFM(16, 1, num_heads=4), num_classes=5, output="classifier"),
    )


@pytest.fixture
def model():
    return build(0)


@pytest.fixture
def weights():
    """Of another model than ``model``."""
    return {name: tensor.clone() for name, tensor in build(1).state_dict().items()}


def test_left_out_classifiers_start_anew_in_training_and_that_is_logged(
    model, weights, tmp_path, caplog
):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(
        {"model": {n: t for n, t in weights.items() if not is_classifier(n)}}, tmp_path / "w"
    )
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        SegmentorCheckpointer(model).load(str(tmp_path / "w"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (before if is_classifier(name) else weights)[name]), name
    (warning,) = (r.getMessage() for r in caplog.records if r.name.startswith("cffm_plugin"))
    assert "start anew" in warning
    assert (
        "sem_seg_head.predictor.bias" in warning and "temporal.output.classifier.weight" in warning
    )


def test_left_out_classifiers_are_not_evaluated(model, weights, tmp_path):
    del weights["temporal.output.classifier.weight"], weights["temporal.output.classifier.bias"]
    torch.save({"model": weights}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"output\.classifier\.weight is not in the checkpoint"):
        SegmentorCheckpointer(model, require_all=True).load(str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "lacking",
    [
        ["sem_seg_head.predictor.weight"],
        [
            "sem_seg_head.predictor.weight",
            "sem_seg_head.predictor.bias",
            "sem_seg_head.fuse.weight",
        ],
    ],
    ids=["half a classifier", "more than the classifier"],
)
def test_any_other_hole_stays_an_error(model, weights, tmp_path, lacking):
    for name in lacking:
        del weights[name]
    torch.save({"model": weights}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"{lacking[-1]} is not in the checkpoint"):
        SegmentorCheckpointer(model).load(str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "key",
    [
        "segformer.encoder.patch_embeddings.0.proj.weight",
        "backbone.layers.0.0.projection.weight",
        "decode_head.linear_c1.proj.weight",
        "patch_embed1.proj.weight",
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_foreign_files_are_errors_that_name_the_converter(model, tmp_path, key, suffix):
    path = tmp_path / f"theirs{suffix}"
    foreign = {key: torch.zeros(4, 3, 7, 7)}
    if suffix == ".pth":
        torch.save(foreign, path)
    else:
        save_file(foreign, path)
    with pytest.raises(ValueError, match=r"another format(.|\n)*cffm convert .*theirs"):
        SegmentorCheckpointer(model).load(str(path))


def test_our_weights_load_from_safetensors_too(model, weights, tmp_path):
    save_file(weights, tmp_path / "ours.safetensors")
    SegmentorCheckpointer(model, require_all=True).load(str(tmp_path / "ours.safetensors"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
