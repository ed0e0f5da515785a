"""Pickles, as the model zoo has them: arrays are read, and nothing that they name is run."""

import collections
import os
import pickle

import numpy as np
import pytest
import torch

from cffm_plugin.checkpoint import SegmentorCheckpointer, read_state_dict


class Payload:
    """Unpickled by pickle itself, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def arrays_of(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def another():
    torch.manual_seed(1)
    return torch.nn.ModuleDict({"backbone": torch.nn.Linear(3, 2), "head": torch.nn.Linear(2, 2)})


def assert_loads(path):
    torch.manual_seed(0)
    model = another()
    torch.nn.init.zeros_(model["backbone"].weight)
    SegmentorCheckpointer(model, require_all=True).load(str(path))
    for name, tensor in another().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_the_model_zoo_are_loaded_in_every_protocol(tmp_path, protocol):
    stored = {"model": arrays_of(another()), "__author__": "someone"}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(stored, protocol))
    assert_loads(tmp_path / "m.pkl")
    assert torch.equal(
        read_state_dict(tmp_path / "m.pkl")["backbone.weight"], another()["backbone"].weight
    )


def test_files_of_caffe2_and_of_pycls_are_matched_as_detectron2_does_it(tmp_path):
    arrays = collections.OrderedDict(arrays_of(another()), weight_momentum=np.zeros(3))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"blobs": arrays}))
    torch.save({"model_state": another().state_dict()}, tmp_path / "m.pyth")
    for name in ("m.pkl", "m.pyth"):
        assert_loads(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("suffix", ["pkl", "pth", "pyth", "bin"])
@pytest.mark.parametrize("place", ["alone", "beside weights", "in an array"])
def test_a_payload_runs_nowhere_and_the_error_says_how_to_convert(
    tmp_path, protocol, suffix, place
):
    payload = Payload(tmp_path / "made")
    stored = {
        "alone": payload,
        "beside weights": {"model": arrays_of(another()), "__author__": payload},
        "in an array": {"model": {"w": np.array([payload], dtype=object)}, "__author__": "x"},
    }[place]
    path = tmp_path / f"evil.{suffix}"
    path.write_bytes(pickle.dumps(stored, protocol))
    for read in (SegmentorCheckpointer(another()).load, read_state_dict):
        with pytest.raises(ValueError, match=rf"evil\.{suffix} can't be read"):
            read(str(path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "named", ["os.system", "builtins.eval", "builtins.getattr", "numpy.load", "torch.load"]
)
def test_a_pickle_that_names_a_function_is_told_how_it_can_be_converted(tmp_path, named):
    module, name = named.rsplit(".", 1)
    (tmp_path / "evil.pkl").write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(ValueError, match=rf"evil\.pkl.*numpy\.asarray(.|\n)*{named}"):
        read_state_dict(tmp_path / "evil.pkl")


def test_bytes_in_an_old_pickle_can_not_be_decoded_by_any_codec(tmp_path):
    code = b"c_codecs\nencode\n(V0000\nVhex\ntR."
    (tmp_path / "evil.pkl").write_bytes(code)
    with pytest.raises(ValueError, match="hex is not allowed"):
        read_state_dict(tmp_path / "evil.pkl")


@pytest.mark.parametrize("content", [b"", b"\x80", b"no pickle", b"\x80\x04]q\x00."])
def test_a_pkl_that_is_none_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "broken.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pkl"):
        SegmentorCheckpointer(another()).load(str(tmp_path / "broken.pkl"))
