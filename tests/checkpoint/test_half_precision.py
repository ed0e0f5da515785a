"""Weights as safetensors, in float16 and as they are."""

import logging

import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import load_file

from cffm_plugin.checkpoint import (
    ModelInfo,
    SegmentorCheckpointer,
    half_precision,
    halve_checkpoint,
    read_model_info,
    read_state_dict,
    write_half_precision,
    write_safetensors,
)

WEIGHTS = {
    "weight": torch.tensor([[1.0, -2.5], [3.25, 0.125]]),
    "double": torch.tensor([0.5], dtype=torch.float64),
    "counter": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "infinite": torch.tensor([float("-inf"), 1.0]),  # as masks of attention hold on purpose
}


def test_floats_become_float16_and_all_else_stays_as_it_is(tmp_path):
    write_half_precision(WEIGHTS, tmp_path / "w.safetensors", {})
    loaded = load_file(tmp_path / "w.safetensors")
    assert set(loaded) == set(WEIGHTS)
    for name, tensor in WEIGHTS.items():
        expected = tensor.half() if tensor.is_floating_point() else tensor
        assert loaded[name].dtype == expected.dtype and torch.equal(loaded[name], expected)


def test_others_may_read_the_file_as_any_other_that_is_written(tmp_path):
    write_half_precision(WEIGHTS, tmp_path / "w.safetensors", {})
    (tmp_path / "plain.txt").write_text("")
    modes = {file.stat().st_mode for file in tmp_path.iterdir()}
    assert len(modes) == 1


def test_half_precision_takes_half_the_bytes_of_full(tmp_path):
    weights = {"weight": torch.randn(1000, 100)}
    write_half_precision(weights, tmp_path / "half.safetensors", {})
    write_safetensors(weights, tmp_path / "full.safetensors", {})
    half, full = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("half", "full"))
    assert half == pytest.approx(full / 2, rel=0.01)
    assert torch.equal(read_state_dict(tmp_path / "full.safetensors")["weight"], weights["weight"])


def test_tensors_that_share_their_memory_are_written_each(tmp_path):
    tensor = torch.randn(4, 6)
    write_safetensors({"a": tensor, "b": tensor, "c": tensor.T}, tmp_path / "w.safetensors", {})
    loaded = load_file(tmp_path / "w.safetensors")
    assert torch.equal(loaded["b"], tensor) and torch.equal(loaded["c"], tensor.T)


def test_a_value_beyond_float16_is_an_error_that_names_it_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="big holds 70000, and float16 ends at 65504"):
        write_half_precision({"big": torch.tensor([-1.0, 70000.0])}, tmp_path / "w.safetensors", {})
    assert not list(tmp_path.iterdir())
    assert half_precision({"fits": torch.tensor([65504.0])})["fits"].item() == 65504.0


def test_weights_that_are_not_a_number_are_not_written(tmp_path):
    with pytest.raises(FloatingPointError, match=r"w\.safetensors was not written: bad holds NaN"):
        write_half_precision({"bad": torch.tensor([float("nan")])}, tmp_path / "w.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_the_header_keeps_what_is_known_of_the_model(tmp_path):
    info = ModelInfo(("road", "sky"), ((1, 2, 3), (4, 5, 6)), config="MODEL: {}", version="1")
    write_half_precision({"w": torch.ones(2)}, tmp_path / "w.safetensors", info.as_metadata())
    assert read_model_info(tmp_path / "w.safetensors") == info


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (39).to_bytes(8, "little") + b'{"__metadata__": {"cffm_plugin": "no"}}',
        (36).to_bytes(8, "little") + b'{"__metadata__": {"cffm_plugin": 3}}',
    ],
)
def test_files_that_say_nothing_or_are_broken_say_nothing_of_a_model(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    assert read_model_info(tmp_path / "w.safetensors") is None


def test_loading_warns_of_another_normalisation_than_the_header_says(
    tiny_cffm_cfg, tmp_path, caplog
):
    model = build_model(tiny_cffm_cfg)
    info = ModelInfo.from_config(tiny_cffm_cfg)
    write_half_precision(model.state_dict(), tmp_path / "w.safetensors", info.as_metadata())
    for image_format, warnings in (("RGB", 0), ("BGR", 1)):
        caplog.clear()
        tiny_cffm_cfg.INPUT.FORMAT = image_format
        ours = ModelInfo.from_config(tiny_cffm_cfg)
        with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
            SegmentorCheckpointer(model, info=ours).load(str(tmp_path / "w.safetensors"))
        assert len(caplog.messages) == warnings


def test_a_trainers_checkpoint_is_halved_with_what_it_says_of_its_model(tiny_cffm_cfg, tmp_path):
    model = build_model(tiny_cffm_cfg)
    info = ModelInfo.from_config(tiny_cffm_cfg, ("a", "b", "c", "d"))
    SegmentorCheckpointer(model, str(tmp_path), info=info).save("model_final", iteration=3)
    halve_checkpoint(tmp_path / "model_final.pth", tmp_path / "half.safetensors")
    assert read_model_info(tmp_path / "half.safetensors") == info
    written = load_file(tmp_path / "half.safetensors")
    assert written.keys() == model.state_dict().keys()
    size = (tmp_path / "half.safetensors").stat().st_size
    assert size < 0.7 * (tmp_path / "model_final.pth").stat().st_size
