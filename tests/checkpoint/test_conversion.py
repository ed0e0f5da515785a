"""What holds for every format: recognising, nothing silently lost, classifiers."""

import golden_cases
import pytest
import torch

from cffm_plugin.checkpoint import (
    FORMATS,
    convert,
    is_classifier,
    recognise,
    sizes_of,
    verify_complete,
)

# A key of each format that tells it.
TELLING = {
    "official CFFM": ["decode_head.decoder_focal.blocks.0.norm1.weight"],
    "official CFFM++": [
        "decode_head.decoder_focal.blocks.0.norm1.weight",
        "decode_head.decoder_swin.blocks.0.norm1.weight",
    ],
    "official MRCFA": ["decode_head.hypercorre_module.q1.weight"],
    "official TV3S": ["decode_head.vs.norm_f.weight"],
    "SegFormer segmentor": ["backbone.norm1.weight", "decode_head.linear_c1.proj.weight"],
    "SegFormer ImageNet encoder (MiT)": ["patch_embed1.proj.weight"],
    "Swin ImageNet encoder": ["layers.0.blocks.0.attn.relative_position_bias_table"],
    "Hugging Face SegFormer": ["segformer.encoder.patch_embeddings.0.proj.weight"],
    "MMSegmentation 1.x SegFormer": ["backbone.layers.0.0.projection.weight"],
    "EfficientNet-Lite0": ["_conv_stem.weight"],
}


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_format_is_told_by_its_keys_in_any_order(name, reverse):
    keys = ["decode_head.linear_c1.proj.weight"] if name.startswith("official") else []
    keys += TELLING[name]
    assert recognise(keys[::-1] if reverse else keys) == name


def test_every_format_is_tried_here():
    assert set(TELLING) == {known.name for known in FORMATS}


def test_an_unknown_format_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"layer1\.0.*Known formats") as error:
        convert({"layer1.0.conv1.weight": torch.zeros(1)})
    assert all(known.name in str(error.value) for known in FORMATS)


@pytest.mark.parametrize("part", ["encoder", "segmentor", "cffm"])
def test_our_own_checkpoints_are_not_taken_for_foreign_ones(part, segmentor_weights):
    weights = segmentor_weights()
    if part == "encoder":
        weights = {n: t for n, t in weights.items() if n.startswith("backbone.")}
    if part == "cffm":
        weights = convert(golden_cases.official_checkpoint("b0")).weights
    with pytest.raises(ValueError, match=r"own names already.*MODEL\.WEIGHTS"):
        recognise(weights)


def test_our_segmentor_on_a_strangers_backbone_is_ours_whatever_its_names():
    keys = ["backbone.layers.0.0.projection.weight", "sem_seg_head.predictor.weight"]
    with pytest.raises(ValueError, match="own names already"):
        recognise(keys)


class TestPartsOfATensor:
    """Hugging Face's key and value are two parts of our kv."""

    ATTENTION = "encoder.block.0.0.attention.self."
    START = {"encoder.patch_embeddings.0.proj.weight": torch.zeros(4, 3, 7, 7)}

    def test_a_missing_part_is_an_error_that_names_the_other(self):
        weights = self.START | {self.ATTENTION + "value.bias": torch.zeros(4)}
        with pytest.raises(ValueError, match=r"block1\.0\.attn\.kv\.bias.*2 tens.*value\.bias"):
            convert(weights)

    def test_one_part_in_two_spellings_is_an_error_that_names_both(self):
        both = [self.ATTENTION + "value.bias", "stages.0.blocks.0.attention.v_proj.bias"]
        weights = self.START | dict.fromkeys(both, torch.zeros(4))
        with pytest.raises(ValueError, match=r"self\.value\.bias and .*v_proj\.bias"):
            convert(weights)

    def test_rows_that_do_not_divide_are_an_error_that_names_the_key(self):
        start = {"layers.0.0.projection.weight": torch.zeros(4, 3, 7, 7)}
        with pytest.raises(ValueError, match=r"in_proj_bias has shape \(10,\).*3 equal parts"):
            convert(start | {"layers.0.1.0.attn.attn.in_proj_bias": torch.zeros(10)})

    def test_no_part_keeps_the_whole_source_in_memory(self):
        """Saved files would hold the source's whole storage for every part of it."""
        conversion = convert(golden_cases.official_checkpoint("plus_b0"))
        for name, tensor in conversion.weights.items():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes, name


class TestClassifiers:
    """Generated B0 weights of CFFM++ have three classifiers, for 124 classes."""

    NAMES = {
        f"{part}.{kind}"
        for part in (
            "sem_seg_head.predictor",
            "temporal.output.classifier",
            "prototype_branch.classifier",
        )
        for kind in ("weight", "bias")
    }

    @pytest.fixture(scope="class")
    def official(self):
        return golden_cases.official_checkpoint("plus_b0")

    def test_the_number_of_classes_is_told(self, official):
        conversion = convert(official, num_classes=124)
        assert conversion.num_classes == 124
        assert {name for name in conversion.weights if is_classifier(name)} == self.NAMES

    def test_another_number_is_an_error_that_names_both_and_the_way_out(self, official):
        with pytest.raises(ValueError, match=r"124 classes, not 19.*--new-classifier"):
            convert(official, num_classes=19)

    def test_asked_for_a_new_classifier_exactly_the_classifiers_are_left_out(self, official):
        conversion = convert(official, num_classes=19, new_classifier=True)
        assert set(convert(official).weights) - set(conversion.weights) == self.NAMES
        reasons = {conversion.dropped[f"decode_head.linear_pred{i}.bias"] for i in ("", "2", "3")}
        assert reasons == {"a classifier of 124 classes; training starts it anew"}
        verify_complete(conversion.weights, new_classifier=True)
        assert sizes_of(conversion.weights).num_classes is None

    def test_without_classifiers_weights_are_not_complete_unless_that_was_asked(self, official):
        weights = convert(official, new_classifier=True).weights
        with pytest.raises(ValueError, match=r"sem_seg_head\.predictor\.weight"):
            verify_complete(weights)

    def test_a_hole_elsewhere_is_found_with_a_new_classifier_too(self, official):
        weights = convert(official, new_classifier=True).weights
        del weights["temporal.module.blocks.0.norm1.bias"]
        with pytest.raises(ValueError, match=r"temporal\.module\.blocks\.0\.norm1\.bias"):
            verify_complete(weights, new_classifier=True)

    def test_classifiers_of_different_sizes_are_an_error(self, official):
        odd = {"decode_head.linear_pred3.weight": torch.zeros(19, 256, 1, 1)}
        with pytest.raises(ValueError, match="differ in their number of classes"):
            convert(official | odd)


def test_the_encoder_alone_is_that_of_the_whole():
    official = golden_cases.official_checkpoint("plus_b0")
    whole, alone = convert(official), convert(official, encoder_only=True, num_classes=19)
    assert set(alone.weights) == {n for n in whole.weights if n.startswith("backbone.")}
    assert set(alone.used) | set(alone.dropped) == set(official)
    verify_complete(alone.weights)


def test_an_encoder_of_strange_sizes_is_an_error_that_tells_them(segmentor_weights):
    weights = segmentor_weights()
    for name in [name for name in weights if name.startswith("backbone.block4.1.")]:
        del weights[name]
    with pytest.raises(ValueError, match=r"\[32, 64, 160, 256\].*\[2, 2, 2, 1\].*no MiT"):
        verify_complete(weights)
