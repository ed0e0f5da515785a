"""SegFormer's authors' own files: segmentors and ImageNet encoders."""

import golden_cases
import pytest
import torch

from cffm_plugin.checkpoint import convert, sizes_of, verify_complete

SEGMENTER = ("backbone.", "decode_head.linear_c", "decode_head.linear_fuse.")
SEGMENTER += ("decode_head.linear_pred.", "decode_head.conv_seg.")


def authors_segmentor(official):
    """The part of an official CFFM file that SegFormer's segmentors have: CFFM builds on them."""
    return {name: tensor for name, tensor in official.items() if name.startswith(SEGMENTER)}


def test_a_segmentor_is_cffm_without_its_temporal_part():
    official = golden_cases.official_checkpoint("b0")
    conversion = convert(authors_segmentor(official))
    assert conversion.source == "SegFormer segmentor"
    assert set(conversion.dropped) == {f"decode_head.conv_seg.{n}" for n in ("weight", "bias")}
    verify_complete(conversion.weights)
    cffm = convert(official).weights
    assert set(conversion.weights) == {n for n in cffm if not n.startswith("temporal.")}
    for name, tensor in conversion.weights.items():
        assert torch.equal(tensor, cffm[name]), name


def test_the_wide_decoder_of_b2_to_b5_is_recognised(segmentor_weights):
    """ADE20K's B2: 150 classes, embedding width 768."""
    shapes = {n: t.shape for n, t in segmentor_weights("mit_b2", 150, 768).items()}
    theirs = {}
    for name, shape in shapes.items():
        name = name.replace("sem_seg_head.fuse.weight", "decode_head.linear_fuse.conv.weight")
        name = name.replace("sem_seg_head.fuse.norm.", "decode_head.linear_fuse.bn.")
        name = name.replace("sem_seg_head.predictor.", "decode_head.linear_pred.")
        for stage in range(1, 5):
            ours = f"sem_seg_head.projections.res{stage + 1}."
            name = name.replace(ours, f"decode_head.linear_c{stage}.proj.")
        theirs[name] = torch.zeros(shape)
    conversion = convert(theirs)
    assert not conversion.dropped
    assert {n: t.shape for n, t in conversion.weights.items()} == shapes
    verify_complete(conversion.weights)
    sizes = sizes_of(conversion.weights)
    assert (sizes.variant, sizes.num_classes, sizes.embedding_channels) == ("mit_b2", 150, 768)


@pytest.mark.parametrize("with_classifier", [True, False])
def test_an_imagenet_encoder_converts_and_drops_its_classifier(with_classifier):
    official = golden_cases.official_checkpoint("b0")
    encoder = {
        name.removeprefix("backbone."): tensor
        for name, tensor in official.items()
        if name.startswith("backbone.")
    }
    head = {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    conversion = convert(encoder | (head if with_classifier else {}))
    assert set(conversion.dropped) == (set(head) if with_classifier else set())
    verify_complete(conversion.weights)
    for name, tensor in conversion.weights.items():
        assert torch.equal(tensor, encoder[name.removeprefix("backbone.")])
