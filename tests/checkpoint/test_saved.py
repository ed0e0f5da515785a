"""The checkpoints of a training: written whole, chosen among, never silently wrong."""

import errno
import logging
import resource
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from cffm_plugin.checkpoint import SegmentorCheckpointer


def build(value=0.0):
    model = nn.ModuleDict({"backbone": nn.Linear(40, 50)})
    nn.init.constant_(model["backbone"].weight, value)
    return model


class Progress:
    """Stands for the trainer, whose state is resumed."""

    def __init__(self):
        self.iteration = None

    def state_dict(self):
        return {"iteration": self.iteration}

    def load_state_dict(self, state):
        self.iteration = state["iteration"]


def save(folder, iterations, keep=0):
    """Checkpoints whose weights are the number of the step that they were written after."""
    checkpointer = SegmentorCheckpointer(build(), str(folder), keep=keep, trainer=Progress())
    for name in iterations:
        final = isinstance(name, str)
        iteration = int(name.removeprefix("final ")) if final else name
        nn.init.constant_(checkpointer.model["backbone"].weight, iteration)
        checkpointer.checkpointables["trainer"].iteration = iteration
        checkpointer.save("model_final" if final else f"model_{iteration:07d}", iteration=iteration)
    return checkpointer


def resumed_from(folder):
    checkpointer = SegmentorCheckpointer(build(-1), str(folder), trainer=Progress())
    checkpointer.resume_or_load("", resume=True)
    iteration = checkpointer.checkpointables["trainer"].iteration
    wanted = -1 if iteration is None else iteration
    assert checkpointer.model["backbone"].weight.unique().tolist() == [wanted]
    return iteration


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def empty(file):
    file.write_bytes(b"")


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def put_nan_in(file):
    content = torch.load(file, weights_only=True)
    content["model"]["backbone.weight"][3, 4] = float("nan")
    torch.save(content, file)


def put_something_else(file):
    torch.save([1, 2], file)


DAMAGES = [truncate, empty, flip_a_bit, put_nan_in, put_something_else]


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="cffm_plugin.checkpoint.saved")
    return lambda: " ".join(r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_passed_over_for_the_newest_sound_one(
    tmp_path, damage, warnings
):
    save(tmp_path, [9, 19, 29])
    damage(tmp_path / "model_0000029.pth")
    assert resumed_from(tmp_path) == 19
    assert "Passed over: " in warnings() and "model_0000029.pth" in warnings()
    assert "goes on from" in warnings() and "model_0000019.pth" in warnings()


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_none_is_sound_the_error_says_of_each_why(tmp_path, damage):
    save(tmp_path, [9, 19])
    for file in tmp_path.glob("*.pth"):
        damage(file)
    with pytest.raises(ValueError, match="no sound checkpoint") as error:
        resumed_from(tmp_path)
    assert "model_0000009.pth" in str(error.value) and "model_0000019.pth" in str(error.value)
    assert "OUTPUT_DIR" in str(error.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_started_from_either(tmp_path, damage):
    save(tmp_path, [9])
    damage(tmp_path / "model_0000009.pth")
    with pytest.raises((ValueError, FloatingPointError), match=r"model_0000009\.pth"):
        SegmentorCheckpointer(build()).load(str(tmp_path / "model_0000009.pth"))


def test_no_flipped_bit_changes_what_is_loaded_without_a_word(tmp_path):
    save(tmp_path, [9])
    file = tmp_path / "model_0000009.pth"
    sound = file.read_bytes()
    refused = 0
    for position in range(7, len(sound), 53):
        content = bytearray(sound)
        content[position] ^= 1 << position % 8
        file.write_bytes(content)
        checkpointer = SegmentorCheckpointer(build(-1))
        try:
            checkpointer.load(str(file))
        except ValueError:
            refused += 1
            continue
        assert checkpointer.model["backbone"].weight.unique().tolist() == [9], position
    assert refused > 100


@pytest.mark.parametrize("content", ["", "\n", "model_0000099.pth", "../model_0000009.pth", "\0"])
def test_a_broken_last_checkpoint_file_loses_nothing(tmp_path, content):
    save(tmp_path, [9, 19])
    (tmp_path / "last_checkpoint").write_text(content)
    assert resumed_from(tmp_path) == 19
    (tmp_path / "last_checkpoint").unlink()
    assert resumed_from(tmp_path) == 19


def test_the_one_that_is_named_as_last_is_preferred_to_newer_ones(tmp_path):
    save(tmp_path, [9, 19, 29])
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    assert resumed_from(tmp_path) == 9


def test_an_extended_run_goes_on_from_the_newest_whatever_its_name(tmp_path, warnings):
    save(tmp_path, [9, "final 14", 19])
    empty(tmp_path / "model_0000019.pth")
    assert resumed_from(tmp_path) == 14


def test_a_folder_without_checkpoints_starts_anew(tmp_path):
    assert resumed_from(tmp_path) is None


@contextmanager
def files_of_at_most(num_bytes):
    """As on a full disk: the system writes no file beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["model_0000019", "model_0000009"], ids=["new", "rewritten"])
def test_a_checkpoint_that_does_not_fit_leaves_those_before_as_they_were(tmp_path, name):
    checkpointer = save(tmp_path, [9])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    told = pytest.raises(OSError, match=rf"{name}\.pth could not be written.*MiB are free")
    with files_of_at_most(4000), told as error:
        checkpointer.save(name)
    assert error.value.errno == errno.EFBIG
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert resumed_from(tmp_path) == 9


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    checkpointer = save(tmp_path, [9])
    checkpointer.model["backbone"].weight.data[1, 1] = float("inf")
    with pytest.raises(FloatingPointError, match=r"model_0000019\.pth.*backbone\.weight"):
        checkpointer.save("model_0000019")
    assert resumed_from(tmp_path) == 9


def test_a_mask_of_infinities_is_a_buffer_like_any_other(tmp_path):
    model = build(3)
    model["backbone"].register_buffer("mask", torch.full((2, 2), float("-inf")))
    SegmentorCheckpointer(model, str(tmp_path)).save("model_0000009")
    SegmentorCheckpointer(model).load(str(tmp_path / "model_0000009.pth"))


@pytest.mark.parametrize(
    "keep, kept", [(0, [3, 9, 19, 29]), (1, [29]), (2, [19, 29]), (9, [3, 9, 19, 29])]
)
def test_the_newest_checkpoints_are_kept_and_the_final_one_always(tmp_path, keep, kept):
    save(tmp_path, [3, "final 5"])
    save(tmp_path, [9, 19, 29], keep=keep)
    names = {file.name for file in tmp_path.glob("*.pth")}
    assert names == {"model_final.pth", *(f"model_{i:07d}.pth" for i in kept)}
    assert resumed_from(tmp_path) == 29


def test_files_of_other_names_are_nobodys_to_remove_or_to_resume_from(tmp_path):
    for name in ("model_best.pth", "model_0000001_mine.pth", "mine.pth"):
        torch.save({"model": build(5).state_dict()}, tmp_path / name)
    assert resumed_from(tmp_path) is None
    save(tmp_path, [9, 19], keep=1)
    assert len(list(tmp_path.glob("*.pth"))) == 4


def test_a_checkpointer_loads_on_after_a_file_that_was_refused(tmp_path):
    save(tmp_path, [9, 19])
    empty(tmp_path / "model_0000019.pth")
    checkpointer = SegmentorCheckpointer(build())
    with pytest.raises(ValueError, match=r"model_0000019\.pth"):
        checkpointer.load(str(tmp_path / "model_0000019.pth"))
    checkpointer.load(str(tmp_path / "model_0000009.pth"))
    assert checkpointer.model["backbone"].weight.unique().tolist() == [9]
