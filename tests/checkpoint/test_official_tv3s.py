"""The authors' TV3S, and Swin's ImageNet encoders: every key has a place, and a strict load proves
it."""

import golden_cases
import pytest
import torch
from detectron2.modeling import build_model
from fresh_process import ROOT

from cffm_plugin.checkpoint import (
    config_for,
    convert,
    find_rule,
    overrides_for,
    sizes_of,
    verify_complete,
)
from cffm_plugin.config import load_config
from cffm_plugin.modeling.backbone import SWIN_VARIANTS, Swin

VARIANTS = {
    "b0": "mit_b0",
    "b1": "mit_b1",
    "b2": "mit_b2",
    "b5": "mit_b5",
    "swin_t": "swin_t",
    "swin_s": "swin_s",
}


def empty(shapes):
    """Values do not matter here: B5 has 85 million of them."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_key_list_converts_with_nothing_left_over(variant):
    names = golden_cases.load_json(f"tv3s/official_state_dict_{variant}")
    conversion = convert(empty(names))
    assert conversion.source == "official TV3S"
    assert set(conversion.used) | set(conversion.dropped) == set(names)
    trainable = [t for n, t in conversion.weights.items() if ".norm.running_" not in n]
    parameters = sum(t.numel() for t in trainable if t.dim() > 0)  # all but num_batches_tracked
    assert verify_complete(conversion.weights) == parameters
    sizes = sizes_of(conversion.weights)
    assert (sizes.variant, sizes.temporal) == (VARIANTS[variant], "TV3S")
    assert (sizes.temporal_depth, sizes.embedding_channels, sizes.num_classes) == (8, 256, 124)


def test_the_model_has_the_size_that_the_paper_says():
    """17.3 M with MiT-B1, the unused classifier of 124 x 129 among them; a block has 438,016."""
    names = golden_cases.load_json("tv3s/official_state_dict_b1")
    weights = convert(empty(names)).weights
    assert verify_complete(weights) + 124 * 129 == pytest.approx(17.26e6, abs=0.005e6)
    temporal = [t.numel() for n, t in weights.items() if n.startswith("temporal.module.")]
    assert sum(temporal) == 8 * 438_016 + 256 == 3_504_384


def test_only_index_tables_and_the_unused_classifier_are_dropped():
    for variant in ("b1", "swin_t"):
        names = golden_cases.load_json(f"tv3s/official_state_dict_{variant}")
        for name in convert(empty(names)).dropped:
            assert golden_cases.is_integer(name) or name.startswith("decode_head.conv_seg."), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_config_that_is_named_makes_the_model_that_the_weights_fill(variant):
    names = golden_cases.load_json(f"tv3s/official_state_dict_{variant}")
    weights = convert(empty(names)).weights
    sizes = sizes_of(weights)
    cfg = load_config(str(ROOT / config_for(sizes)), ["MODEL.DEVICE", "cpu"])
    overrides = overrides_for(sizes, cfg)
    assert overrides == (["MODEL.MIT.NAME", "mit_b0"] if variant == "b0" else [])
    cfg.merge_from_list(overrides)
    if variant in ("b0", "swin_t"):  # the others are built alike, and larger
        model = build_model(cfg)
        assert {n: t.shape for n, t in model.state_dict().items()} == {
            n: t.shape for n, t in weights.items()
        }


def test_a_missing_weight_fails_the_strict_load():
    weights = convert(empty(golden_cases.load_json("tv3s/official_state_dict_b0"))).weights
    del weights["temporal.module.blocks.3.mixer.D"]
    with pytest.raises(ValueError, match=r"temporal\.module\.blocks\.3\.mixer\.D"):
        verify_complete(weights)


class TestSwinEncoder:
    """Its authors' files: Detectron2's names without norms behind the stages, and a classifier."""

    @pytest.fixture(scope="class", params=SWIN_VARIANTS)
    def official(self, request):
        ours = Swin(SWIN_VARIANTS[request.param]).state_dict()
        shapes = {n: t.shape for n, t in ours.items() if not n.startswith("norm")}
        weights = golden_cases.state_dict(shapes)
        for name in [n for n in weights if n.endswith("relative_position_bias_table")]:
            block = name.removesuffix("attn.relative_position_bias_table")
            weights[f"{block}attn.relative_position_index"] = torch.zeros(49, 49).long()
            weights[f"{block}attn_mask"] = torch.zeros(64, 49, 49)
        weights |= {f"norm.{n}": torch.full((768,), 7.0) for n in ("weight", "bias")}
        weights |= {"head.weight": torch.zeros(9, 768), "head.bias": torch.zeros(9)}
        return request.param, weights

    def test_every_key_is_used_or_named(self, official):
        variant, weights = official
        conversion = convert(weights)
        assert conversion.source == "Swin ImageNet encoder"
        assert set(conversion.used) | set(conversion.dropped) == set(weights)
        verify_complete(conversion.weights)
        assert sizes_of(conversion.weights).variant == variant
        assert config_for(sizes_of(conversion.weights)) == f"configs/vspw/tv3s_{variant}.yaml"
        for name, tensor in weights.items():
            if name in conversion.used:
                assert torch.equal(conversion.weights[f"backbone.{name}"], tensor)

    def test_norms_behind_the_stages_start_as_they_are_made(self, official):
        _, weights = official
        converted = convert(weights).weights
        for stage, width in enumerate((96, 192, 384, 768)):
            assert torch.equal(converted[f"backbone.norm{stage}.weight"], torch.ones(width))
            assert torch.equal(converted[f"backbone.norm{stage}.bias"], torch.zeros(width))

    def test_a_swin_of_other_sizes_is_an_error_that_tells_them(self, official):
        weights = {n: t for n, t in official[1].items() if ".blocks.5." not in n}
        with pytest.raises(ValueError, match=r"width 96 and depths \[2, 2, .*no Swin"):
            verify_complete(convert(weights).weights)


def test_its_keys_are_told_from_those_of_every_other_format():
    found = find_rule("decode_head.vs.norm_f.weight", "official TV3S")
    assert found is not None and found[1] == ("temporal.module.norm.weight",)
