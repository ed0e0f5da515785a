"""SegFormerHead: the split decoder is the decoder, and the head keeps detectron2's contract."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec

from cffm_plugin.config import load_config
from cffm_plugin.modeling import SegFormerHead

SHAPES = {
    "res2": ShapeSpec(channels=8, stride=4),
    "res3": ShapeSpec(channels=12, stride=8),
    "res4": ShapeSpec(channels=16, stride=16),
    "res5": ShapeSpec(channels=20, stride=32),
}


def make_head(**kwargs):
    torch.manual_seed(0)
    arguments = {"num_classes": 5, "embedding_channels": 16, "norm": "BN", "dropout": 0.0}
    return SegFormerHead(SHAPES, **(arguments | kwargs))


def make_features(size=(25, 33)):
    features = {}
    for name, shape in SHAPES.items():
        features[name] = torch.randn(2, shape.channels, *size)
        size = tuple(-(-side // 2) for side in size)
    return features


def concatenating_embed(head, features):
    """The decoder as its paper writes it: map, resize, concatenate coarsest first, fuse."""
    size = features["res2"].shape[2:]
    maps = []
    for name in ("res5", "res4", "res3", "res2"):
        projected = head.projections[name](features[name].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        maps.append(F.interpolate(projected, size=size, mode="bilinear", align_corners=False))
    return head.fuse(torch.cat(maps, dim=1))


def test_splitting_by_stage_changes_neither_result_nor_gradients():
    head, features = make_head().train(), make_features()
    weights = [head.fuse.weight, *head.projections.parameters()]
    results = []
    for embed in (lambda f: head.embed(f)[0], lambda f: concatenating_embed(head, f)):
        embedding = embed(features)
        loss = (embedding * embedding.detach().cos()).sum()
        results.append((embedding, torch.autograd.grad(loss, weights)))
    (split, split_gradients), (whole, whole_gradients) = results
    torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(split_gradients, whole_gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-3)


def test_inference_gives_logits_at_the_image_size_and_training_gives_losses():
    head, features = make_head(), make_features()
    embedding, context = head.eval().embed(features)
    assert context is None
    assert embedding.shape == (2, head.embedding_channels, 25, 33)
    assert head.classify(embedding, context).shape == (2, head.num_classes, 25, 33)
    logits, losses = head(features)
    assert logits.shape == (2, 5, 100, 132) and losses == {}
    logits, losses = head.train()(features, torch.zeros(2, 99, 130, dtype=torch.int64))
    assert logits is None and list(losses) == ["loss_sem_seg"]
    with pytest.raises(ValueError, match="sem_seg"):
        head(features)  # in training, without labels
    assert make_head(norm="").embed(features)[0].min() >= 0


def test_unknown_features_are_an_error_that_names_config_and_backbone():
    cfg = load_config("", ["MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'p7']"])
    with pytest.raises(ValueError, match=r"IN_FEATURES.*p7.*res2"):
        SegFormerHead(cfg, SHAPES)
