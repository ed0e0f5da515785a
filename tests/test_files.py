import errno
import json
import math
import os

import pytest
import torch

from cffm_plugin.files import remove_leftovers, whole_file, write_json, write_text


class FullDisk:
    """A file on a disk that takes a few bytes more."""

    def __init__(self, path, room):
        self.file, self.room = path.open("wb"), room

    def write(self, data):
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def test_a_file_appears_with_all_that_was_written_to_it(tmp_path):
    with whole_file(tmp_path / "new" / "a.txt") as partial:
        partial.write_text("one")
        assert partial.suffix == ".txt"
        assert not (tmp_path / "new" / "a.txt").exists()
    assert os.listdir(tmp_path / "new") == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "one"
    write_text(tmp_path / "long" / ("x" * 251 + ".txt"), "as long as the system allows")
    assert os.listdir(tmp_path / "long") == ["x" * 251 + ".txt"]
    with pytest.raises(OSError, match="a.txt/b.txt could not be written"):
        write_text(tmp_path / "new" / "a.txt" / "b.txt", "x")


def test_the_old_file_stays_where_writing_the_new_one_fails(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("ne")
        raise ZeroDivisionError
    told = pytest.raises(FileNotFoundError, match="elsewhere")
    with told as error, whole_file(tmp_path / "a.txt"):
        (tmp_path / "elsewhere" / "b.txt").read_text()
    assert "could not be written" not in str(error.value)  # not taken for the disk's
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_told_with_path_and_free_space_and_the_old_file_stays(tmp_path):
    torch.save([1], tmp_path / "a.pth")
    told = pytest.raises(OSError, match="a.pth could not be written.*MiB are free")
    with told as error, whole_file(tmp_path / "a.pth") as partial:
        torch.save({"x": torch.zeros(9999)}, FullDisk(partial, room=5000))
    assert error.value.errno == errno.ENOSPC  # torch's own error hides it
    assert os.listdir(tmp_path) == ["a.pth"]
    assert torch.load(tmp_path / "a.pth") == [1]


def test_files_that_need_not_outlive_a_power_cut_are_whole_and_do_not_wait(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(os, "fsync", waited.append)
    with whole_file(tmp_path / "a.txt", durable=False) as partial:
        partial.write_text("one")
        assert os.listdir(tmp_path) == [partial.name]
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a.txt", durable=False) as partial:
        partial.write_text("tw")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "one"
    assert waited == []
    write_text(tmp_path / "a.txt", "two")
    assert len(waited) == 2  # the file, and its name in the folder


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    with whole_file(tmp_path / "a.txt") as partial:
        left = tmp_path / "deep" / partial.name
        left.parent.mkdir()
        left.write_text("half")
        partial.write_text("whole")
    (tmp_path / "deep" / "b.txt").write_text("b")
    remove_leftovers(tmp_path)
    assert {f.name for f in tmp_path.rglob("*") if f.is_file()} == {"a.txt", "b.txt"}


def test_json_has_null_for_every_number_that_is_not_finite_however_deep(tmp_path):
    value = {8: [math.nan, (1.5, -math.inf)], "text": "NaN", "none": None, "b": {"c": math.inf}}
    write_json(tmp_path / "a.json", value)
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert found == {"8": [None, [1.5, None]], "text": "NaN", "none": None, "b": {"c": None}}
