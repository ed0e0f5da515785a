"""Reading checkpoint files: every container, and no code."""

import pytest
import torch
from safetensors.torch import save_file

from cffm_plugin.checkpoint import read_state_dict

WEIGHTS = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2)}


def assert_is_read(path):
    read = read_state_dict(path)
    assert read.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "meta": {"epoch": 1}},  # MMCV
        lambda weights: {"model": weights},  # detectron2
        lambda weights: {f"module.{name}": tensor for name, tensor in weights.items()},
    ],
    ids=["bare", "mmcv", "detectron2", "data parallel"],
)
def test_weights_are_found_whoever_wrapped_them(tmp_path, wrap):
    torch.save(wrap(WEIGHTS), tmp_path / "checkpoint.pth")
    assert_is_read(tmp_path / "checkpoint.pth")


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "any_name.safetensors")
    assert_is_read(tmp_path / "any_name.safetensors")


def test_a_folder_from_the_hub_is_read_and_safetensors_are_preferred(tmp_path):
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin")
    assert_is_read(tmp_path)
    (tmp_path / "pytorch_model.bin").write_text("not even a checkpoint")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert_is_read(tmp_path)


def test_a_folder_without_weights_is_an_error_that_names_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors, pytorch_model\.bin"):
        read_state_dict(tmp_path)


def test_a_checkpoint_with_code_in_it_is_refused_with_the_way_out(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "hook": print}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth.*plain tensors.*keep its weights alone"):
        read_state_dict(tmp_path / "evil.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    weights = {"a": torch.ones(1000)}
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.\w+ can't be read(.|\n)*download complete"):
        read_state_dict(path)


def test_a_file_of_something_else_is_an_error(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds no state dict"):
        read_state_dict(tmp_path / "list.pth")
