"""The authors' CFFM, CFFM++ and MRCFA: every key has a place, and a strict load proves it."""

import golden_cases
import pytest
import torch

from cffm_plugin.checkpoint import convert, sizes_of, verify_complete

# Published sizes: encoder widths and depths are MiT's, temporal blocks 1, 2, 2, 4.
DEPTHS = {"b0": 1, "b1": 2, "b2": 2, "b5": 4}


@pytest.mark.parametrize("variant", DEPTHS)
def test_key_list_converts_with_nothing_left_over(variant):
    names = golden_cases.load_json(f"official_state_dict_{variant}")
    # Values do not matter here: B5 has 85 million of them.
    official = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
    conversion = convert(official)
    assert conversion.source == "official CFFM"
    assert len(conversion.weights) + len(conversion.dropped) == len(names)
    trainable = [t for n, t in conversion.weights.items() if ".norm.running_" not in n]
    parameters = sum(t.numel() for t in trainable if t.dim() > 0)  # all but num_batches_tracked
    assert verify_complete(conversion.weights) == parameters
    sizes = sizes_of(conversion.weights)
    assert (sizes.variant, sizes.temporal_depth) == (f"mit_{variant}", DEPTHS[variant])
    assert (sizes.embedding_channels, sizes.num_classes) == (256, 124)
    assert not sizes.has_prototype_branch


def test_only_derived_tables_and_the_unused_classifier_are_dropped():
    conversion = convert(golden_cases.official_checkpoint("b0"))
    for name in conversion.dropped:
        assert golden_cases.is_integer(name) or name.startswith("decode_head.conv_seg."), name


class TestCFFMPlus:
    BLOCK = "decode_head.decoder_swin.blocks.0."

    @pytest.fixture(scope="class")
    def official(self):
        return golden_cases.official_checkpoint("plus_b0")

    @pytest.fixture(scope="class")
    def conversion(self, official):
        return convert(official)

    def test_key_list_converts_with_nothing_left_over(self, official, conversion):
        assert conversion.source == "official CFFM++"
        # Every key is used or dropped; of attn.qkv rows are dropped besides.
        rows = {name for name in conversion.dropped if "[" in name}
        assert set(conversion.used) | (set(conversion.dropped) - rows) == set(official)
        assert set(conversion.used).isdisjoint(conversion.dropped)
        verify_complete(conversion.weights)
        assert sizes_of(conversion.weights).has_prototype_branch

    def test_what_cffm_shares_with_it_converts_alike(self, conversion):
        shared = convert(golden_cases.official_checkpoint("b0")).weights
        for name, tensor in shared.items():
            assert torch.equal(conversion.weights[name], tensor), name
        added = set(conversion.weights) - set(shared)
        assert added and all(name.startswith("prototype_branch.") for name in added)

    def test_only_the_queries_of_the_frame_are_used(self, official, conversion):
        """C is 256: rows 0 to 255 of qkv are queries, the rest keys and values of the frame."""
        for kind in ("weight", "bias"):
            key = f"{self.BLOCK}attn.qkv.{kind}"
            query = conversion.weights[f"prototype_branch.block.query.{kind}"]
            assert torch.equal(query, official[key][:256])
            assert {f"{key}[256:512]", f"{key}[512:768]"} <= set(conversion.dropped)

    def test_only_what_is_unused_is_dropped(self, conversion):
        unused = ("attn.qkv.", "attn.proj.", "attn.relative_position_bias_table")
        for name in conversion.dropped:
            assert (
                golden_cases.is_integer(name)
                or name.startswith("decode_head.conv_seg.")
                or name.removeprefix(self.BLOCK).startswith(unused)
            ), name


class TestMRCFA:
    # As published: B1 alone has nets of two convolutions.
    PARAMETERS = {"b0": 5_297_988, "b1": 16_337_655, "b2": 27_382_340, "b5": 84_629_060}

    @pytest.mark.parametrize("variant", PARAMETERS)
    def test_key_list_converts_with_nothing_left_over(self, variant):
        names = golden_cases.load_json(f"mrcfa/official_state_dict_{variant}")
        official = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
        conversion = convert(official)
        assert conversion.source == "official MRCFA"
        assert set(conversion.used) | set(conversion.dropped) == set(names)
        unused = {f"decode_head.conv_seg.{kind}" for kind in ("weight", "bias")}
        assert set(conversion.dropped) == unused
        left_out = sum(official[name].numel() for name in unused)
        assert verify_complete(conversion.weights) == self.PARAMETERS[variant] - left_out
        sizes = sizes_of(conversion.weights)
        assert (sizes.variant, sizes.temporal) == (f"mit_{variant}", "MRCFA")
        assert sizes.deep_nets == (variant == "b1")
        assert (sizes.embedding_channels, sizes.num_classes) == (256, 124)

    def test_what_is_trained_alone_has_classifiers_of_its_own(self):
        """One for each reference frame, besides those of image and video."""
        names = golden_cases.load_json("mrcfa/official_state_dict_b0")
        official = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
        left_out = set(convert(official).weights) - set(
            convert(official, new_classifier=True).weights
        )
        parts = ("sem_seg_head.predictor", "temporal.output.classifier") + tuple(
            f"temporal.output.auxiliary.{i}" for i in range(3)
        )
        assert left_out == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def test_a_key_without_a_rule_is_an_error_that_names_it():
    official = golden_cases.official_checkpoint("b0") | {"decode_head.surprise": torch.zeros(1)}
    with pytest.raises(ValueError, match="decode_head.surprise"):
        convert(official)


def test_a_missing_weight_fails_the_strict_load():
    conversion = convert(golden_cases.official_checkpoint("b0"))
    del conversion.weights["sem_seg_head.fuse.weight"]
    with pytest.raises(ValueError, match="sem_seg_head.fuse.weight"):
        verify_complete(conversion.weights)
