"""Weights written in half precision, and loaded again."""

import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import load_file

from cffm_plugin.checkpoint import (
    ModelInfo,
    SegmentorCheckpointer,
    halve_checkpoint,
    load_stored_config,
    read_model_info,
    write_half_precision,
)


def test_floating_tensors_become_float16_and_others_stay(tmp_path):
    weights = {
        "weight": torch.randn(3, 4).t(),  # not contiguous
        "double": torch.randn(2, dtype=torch.float64),
        "counter": torch.tensor(70000),
        "mask": torch.tensor([True, False]),
    }
    weights["tied"] = weights["weight"]  # one memory under two names
    write_half_precision(weights, tmp_path / "half.safetensors", {"who": "a test"})
    read = load_file(tmp_path / "half.safetensors")
    assert read.keys() == weights.keys()
    for name, tensor in weights.items():
        floating = tensor.is_floating_point()
        assert read[name].dtype == (torch.float16 if floating else tensor.dtype)
        assert torch.equal(read[name], tensor.half() if floating else tensor)


def test_values_too_large_for_float16_are_kept_and_named(tmp_path, caplog):
    weights = {"bn.running_var": torch.tensor([1e5, 2.0]), "weight": torch.ones(2)}
    write_half_precision(weights, tmp_path / "half.safetensors", {})
    read = load_file(tmp_path / "half.safetensors")
    assert torch.equal(read["bn.running_var"], weights["bn.running_var"])
    assert read["weight"].dtype == torch.float16
    assert "bn.running_var" in caplog.text


def test_weights_that_are_not_finite_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"head\.bias.*not finite"):
        write_half_precision(
            {"head.bias": torch.tensor(float("nan"))}, tmp_path / "a.safetensors", {}
        )
    assert not list(tmp_path.iterdir())


def test_others_may_read_it_as_any_file(tmp_path):
    (tmp_path / "any").touch()
    write_half_precision({"a": torch.ones(1)}, tmp_path / "a.safetensors", {})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model\.pth: .*\.safetensors"):
        write_half_precision({}, tmp_path / "model.pth", {})


def test_a_float32_model_loads_it_through_weights_with_its_config_and_classes(
    tiny_cffm_cfg, tmp_path
):
    cfg = tiny_cffm_cfg
    model = build_model(cfg)
    path = tmp_path / "model.safetensors"
    names = ("a", "b", "c", "d")
    info = ModelInfo.of_config(cfg, names, [(k, k, k) for k in range(4)])
    write_half_precision(model.state_dict(), path, info.as_metadata())
    assert read_model_info(path) == info

    stored = load_stored_config(["MODEL.WEIGHTS", str(path)])
    assert stored.MODEL.MIT == cfg.MODEL.MIT
    loaded = build_model(stored)
    SegmentorCheckpointer(loaded, require_all=True).load(stored.MODEL.WEIGHTS)
    for name, tensor in loaded.state_dict().items():
        expected = model.state_dict()[name]
        assert tensor.dtype == expected.dtype
        if expected.is_floating_point():
            assert torch.equal(tensor, expected.half().float()), name


def test_a_safetensors_file_of_others_carries_no_info(tmp_path):
    write_half_precision({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"format": "pt"})
    assert read_model_info(tmp_path / "a.safetensors") is None
    (tmp_path / "b.safetensors").write_bytes(b"something else")
    assert read_model_info(tmp_path / "b.safetensors") is None


def test_a_trainers_checkpoint_is_halved_with_what_it_says_of_its_model(tiny_cffm_cfg, tmp_path):
    model = build_model(tiny_cffm_cfg)
    info = ModelInfo.of_config(tiny_cffm_cfg, ("a", "b", "c", "d"))
    SegmentorCheckpointer(model, str(tmp_path), info=info).save("model_final", iteration=3)
    halve_checkpoint(tmp_path / "model_final.pth", tmp_path / "half.safetensors")
    assert read_model_info(tmp_path / "half.safetensors") == info
    written = load_file(tmp_path / "half.safetensors")
    assert written.keys() == model.state_dict().keys()
    size = (tmp_path / "half.safetensors").stat().st_size
    assert size < 0.7 * (tmp_path / "model_final.pth").stat().st_size
