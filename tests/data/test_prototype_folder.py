"""Reading prototypes: our files, the authors' folders, and what is wrong with others."""

import os

import pytest
import torch

from cffm_plugin.data import PrototypeFolder


def test_our_file_and_the_authors_folder_are_read_all_files_together(tmp_path):
    prototypes = torch.randn(7, 8)
    torch.save(prototypes, tmp_path / "ours.pt")
    assert torch.equal(PrototypeFolder(tmp_path).load("ours"), prototypes)
    (tmp_path / "v").mkdir()
    torch.save(prototypes[None, :4], tmp_path / "v" / "centers.pt")
    assert torch.equal(PrototypeFolder(tmp_path).load("v"), prototypes[:4])
    torch.save(prototypes[None, 4:], tmp_path / "v" / "centers_2.pt")
    assert torch.equal(PrototypeFolder(tmp_path).load("v"), prototypes)


def test_a_missing_video_or_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"video clip_7.*cffm prototypes"):
        PrototypeFolder(tmp_path).load("clip_7")
    with pytest.raises(FileNotFoundError, match=r"nowhere.*PROTOTYPES\.FOLDER"):
        PrototypeFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="FOLDER is empty"):
        PrototypeFolder("")


@pytest.mark.parametrize("content", [torch.zeros(8), torch.zeros(2, 4, 8), {"a": torch.zeros(1)}])
def test_a_file_that_holds_something_else_is_an_error_that_names_it(tmp_path, content):
    torch.save(content, tmp_path / "v.pt")
    with pytest.raises(ValueError, match=r"v\.pt: expected prototypes"):
        PrototypeFolder(tmp_path).load("v")
    (tmp_path / "v.pt").write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match=r"v\.pt.*make it again"):
        PrototypeFolder(tmp_path).load("v")


def test_code_in_a_file_of_prototypes_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save(Payload(), tmp_path / "v.pt")
    with pytest.raises(ValueError, match=r"v\.pt: expected a tensor of prototypes"):
        PrototypeFolder(tmp_path).load("v")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_prototypes_that_are_not_finite_are_an_error_that_names_the_file(tmp_path, value):
    prototypes = torch.randn(5, 8)
    prototypes[3, 2] = value
    torch.save(prototypes, tmp_path / "v.pt")
    with pytest.raises(ValueError, match=r"v\.pt: 1 of 5 prototypes.*cffm prototypes"):
        PrototypeFolder(tmp_path).load("v")
