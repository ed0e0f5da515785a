"""Conversion of published checkpoints: every key has a place, and a strict load proves it."""

import golden
import pytest
import torch

from cffm_plugin.checkpoint import convert, read_state_dict, verify_complete

# Published sizes: encoder widths and depths are MiT's, temporal blocks 1, 2, 2, 4.
VARIANTS = ["b0", "b1", "b2", "b5"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_key_list_converts_with_nothing_left_over(variant):
    names = golden.load_json(f"official_state_dict_{variant}")
    # Values do not matter here: B5 has 85 million of them.
    official = {name: torch.zeros(shape) for name, shape in names.items()}
    conversion = convert(official)
    assert len(conversion.weights) + len(conversion.dropped) == len(names)
    trainable = [t for n, t in conversion.weights.items() if ".norm.running_" not in n]
    parameters = sum(t.numel() for t in trainable if t.dim() > 0)  # all but num_batches_tracked
    assert verify_complete(conversion.weights) == parameters


def test_only_derived_tables_and_the_unused_classifier_are_dropped():
    conversion = convert(golden.official_checkpoint("b0"))
    for name in conversion.dropped:
        assert golden.is_integer(name) or name.startswith("decode_head.conv_seg."), name


def test_imagenet_encoder_converts_and_drops_its_classifier():
    official = golden.official_checkpoint("b0")
    encoder = {
        name.removeprefix("backbone."): tensor
        for name, tensor in official.items()
        if name.startswith("backbone.")
    }
    imagenet = encoder | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    conversion = convert(imagenet)
    assert set(conversion.dropped) == {"head.weight", "head.bias"}
    verify_complete(conversion.weights)
    for name, tensor in conversion.weights.items():
        assert torch.equal(tensor, encoder[name.removeprefix("backbone.")])


def test_a_key_without_a_rule_is_an_error_that_names_it():
    official = golden.official_checkpoint("b0") | {"decode_head.surprise": torch.zeros(1)}
    with pytest.raises(ValueError, match="decode_head.surprise"):
        convert(official)


def test_an_unknown_format_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"layer1\.0.*official CFFM"):
        convert({"layer1.0.conv1.weight": torch.zeros(1)})


def test_a_missing_weight_fails_the_strict_load():
    conversion = convert(golden.official_checkpoint("b0"))
    del conversion.weights["sem_seg_head.fuse.weight"]
    with pytest.raises(ValueError, match="sem_seg_head.fuse.weight"):
        verify_complete(conversion.weights)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w, "meta": {"epoch": 1}}])
def test_weights_are_found_with_and_without_mmcv_wrapping(tmp_path, wrap):
    weights = {"a": torch.ones(2)}
    torch.save(wrap(weights), tmp_path / "checkpoint.pth")
    assert torch.equal(read_state_dict(tmp_path / "checkpoint.pth")["a"], weights["a"])


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "hook": print}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth.*plain tensors"):
        read_state_dict(tmp_path / "evil.pth")


def test_a_truncated_file_is_an_error_that_names_it(tmp_path):
    torch.save({"a": torch.ones(1000)}, tmp_path / "cut.pth")
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.pth can't be read"):
        read_state_dict(tmp_path / "cut.pth")
