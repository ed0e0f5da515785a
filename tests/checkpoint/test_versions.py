"""Versions of modules: weights of today load under their names, and those of older code renamed."""

import pickle
from collections import OrderedDict

import pytest
import torch
from mask2former import Versioned
from safetensors.torch import save_file
from torch import nn

from cffm_plugin.checkpoint import SegmentorCheckpointer, halve_checkpoint


class Head(Versioned):
    """Once, what is in ``pixel_decoder`` was in the head itself, as in Mask2Former's."""

    def __init__(self):
        super().__init__()
        self.pixel_decoder = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
        self.predictor = nn.Linear(2, 3)

    def _rename(self, name, prefix):
        is_decoders = name.startswith(prefix) and not name.startswith(f"{prefix}predictor")
        return name.replace(prefix, f"{prefix}pixel_decoder.") if is_decoders else name


def build(seed):
    torch.manual_seed(seed)
    return nn.ModuleDict({"backbone": nn.Linear(2, 2), "sem_seg_head": Head()})


@pytest.fixture
def theirs():
    return build(1)


def state_dict_renamed(model, rename):
    """A state dict under other names, with the versions of its modules."""
    weights = model.state_dict()
    renamed = OrderedDict((rename(name), value) for name, value in weights.items())
    renamed._metadata = OrderedDict((rename(n), v) for n, v in weights._metadata.items())
    return renamed


def arrays(weights):
    """As model zoos pickle them, with what a state dict says of versions."""
    found = OrderedDict((name, value.numpy()) for name, value in weights.items())
    found._metadata = weights._metadata
    return found


def as_saved(model, file):
    SegmentorCheckpointer(model, str(file.parent)).save(file.stem)


def as_a_state_dict(model, file):
    torch.save(model.state_dict(), file)


def without_versions(model, file):
    torch.save({"model": dict(model.state_dict())}, file)


def without_counters(model, file):
    """As converters leave them out; batch norms take their absence for an old file's."""
    kept = {n: w for n, w in model.state_dict().items() if not n.endswith("batches_tracked")}
    torch.save({"model": kept}, file)


def of_several_gpus(model, file):
    torch.save({"model": state_dict_renamed(model, lambda name: f"module.{name}")}, file)


def of_several_gpus_without_versions(model, file):
    torch.save({"model": {f"module.{n}": w for n, w in model.state_dict().items()}}, file)


def of_the_first_code(model, file):
    """Its names, and no versions: that was before there were any."""
    old = {n.replace("pixel_decoder.", ""): w for n, w in model.state_dict().items()}
    torch.save({"model": old}, file)


def of_the_first_code_with_its_version(model, file):
    old = state_dict_renamed(model, lambda name: name.replace("pixel_decoder.", ""))
    old._metadata["sem_seg_head"] = {"version": 1}
    torch.save({"model": old}, file)


def of_a_model_zoo(model, file):
    file.write_bytes(pickle.dumps({"model": arrays(model.state_dict()), "__author__": "them"}))


def matched_by_heuristics(model, file):
    zoo = {"model": arrays(model.state_dict()), "__author__": "them", "matching_heuristics": True}
    file.write_bytes(pickle.dumps(zoo))


def as_safetensors(model, file):
    save_file(model.state_dict(), file)


def in_half_precision(model, file):
    as_saved(model, file.with_suffix(".pth"))
    halve_checkpoint(file.with_suffix(".pth"), file)


@pytest.mark.parametrize(
    "save, suffix",
    [
        *((as_saved, ".pth"), (as_a_state_dict, ".pth"), (without_versions, ".pth")),
        *((without_counters, ".pth"), (of_several_gpus, ".pth")),
        *((of_several_gpus_without_versions, ".pth"), (of_the_first_code, ".pth")),
        *((of_the_first_code_with_its_version, ".pth"), (of_a_model_zoo, ".pkl")),
        *((matched_by_heuristics, ".pkl"), (as_safetensors, ".safetensors")),
        (in_half_precision, ".safetensors"),
    ],
)
def test_every_weight_arrives_under_its_name(save, suffix, theirs, tmp_path):
    save(theirs, tmp_path / f"model{suffix}")
    model = build(0)
    SegmentorCheckpointer(model, require_all=True).load(str(tmp_path / f"model{suffix}"))
    loaded = model.state_dict()
    for name, weight in theirs.state_dict().items():
        assert torch.allclose(loaded[name].float(), weight.float(), atol=1e-3), name


@pytest.mark.parametrize("said", [5, {"sem_seg_head": "two"}, {3: {"version": 2}}])
def test_versions_that_are_none_are_as_good_as_absent(said, theirs, tmp_path):
    weights = theirs.state_dict()
    weights._metadata = said
    torch.save({"model": weights}, tmp_path / "model.pth")
    model = build(0)
    SegmentorCheckpointer(model, require_all=True).load(str(tmp_path / "model.pth"))
    assert torch.equal(
        model["sem_seg_head"].predictor.weight, theirs["sem_seg_head"].predictor.weight
    )


def test_an_encoder_alone_leaves_the_head_as_it_is(theirs, tmp_path):
    torch.save({"backbone.weight": theirs["backbone"].weight.data}, tmp_path / "part.pth")
    torch.save(
        {f"backbone.{n}": w for n, w in theirs["backbone"].state_dict().items()}, tmp_path / "e"
    )
    model = build(0)
    before = model["sem_seg_head"].predictor.weight.clone()
    SegmentorCheckpointer(model).load(str(tmp_path / "e"))
    assert torch.equal(model["backbone"].weight, theirs["backbone"].weight)
    assert torch.equal(model["sem_seg_head"].predictor.weight, before)
    with pytest.raises(ValueError, match=r"backbone\.bias is not in the checkpoint"):
        SegmentorCheckpointer(model).load(str(tmp_path / "part.pth"))
