"""hf:// paths wherever detectron2 takes a path, and what is said where there is nothing."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager
from fresh_process import run_without
from huggingface_hub import errors
from stub_hub import http_error, stub_hub  # noqa: F401  (a fixture)

import cffm_plugin
import cffm_plugin.registration  # noqa: F401  (hf:// paths)
from cffm_plugin.checkpoint import (
    ModelInfo,
    SegmentorCheckpointer,
    read_model_info,
    read_state_dict,
    write_half_precision,
)
from cffm_plugin.cli.convert import main as convert
from cffm_plugin.hub_files import HubFile, HubFileError, fetch_model_folder


@pytest.fixture
def repository(stub_hub):  # noqa: F811
    folder = stub_hub.root / "a" / "b"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hf://a/b/model.pth", HubFile("a/b", "model.pth")),
        ("hf://a/b/folder/model.pth@v1.0", HubFile("a/b", "folder/model.pth", "v1.0")),
        ("hf://a/b/model.pth@refs/pr/1", HubFile("a/b", "model.pth", "refs/pr/1")),
        ("hf://a/b", HubFile("a/b", "model.safetensors")),
        ("hf://a/b@v1.0", HubFile("a/b", "model.safetensors", "v1.0")),
        *(
            (f"hf://{wrong}", None)
            for wrong in ("", "a", "a/", "/b", "a/b/../c", "a/b//c", "a/b/c@")
        ),
    ],
)
def test_a_path_names_repository_file_and_revision_or_is_an_error(path, expected):
    if expected is None:
        with pytest.raises(ValueError, match="expected hf://owner/repository/file"):
            PathManager.get_local_path(path)
        return
    assert HubFile.from_path(path) == expected
    assert HubFile.from_path(str(expected)) == expected


def test_detectron2s_path_manager_opens_files_of_the_hub_and_writes_none(repository, stub_hub):  # noqa: F811
    (repository / "note.txt").write_text("of the hub")
    with PathManager.open("hf://a/b/note.txt") as opened:
        assert opened.read() == "of the hub"
    assert stub_hub.asked == [("a/b", "note.txt", None)]
    with pytest.raises(OSError, match="can't be written"):
        PathManager.open("hf://a/b/note.txt", "w")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (http_error(errors.RepositoryNotFoundError, 401), "no repository a/b, or it is private"),
        (http_error(errors.GatedRepoError, 403), "a/b is not open to everybody.*conditions"),
        (http_error(errors.RevisionNotFoundError, 404), "a/b has no branch, tag or commit v2"),
        (http_error(errors.RemoteEntryNotFoundError, 404), "a/b has no file w.pth at v2"),
        (http_error(errors.HfHubHTTPError, 403), "does not permit it.*hf auth login"),
        (http_error(errors.HfHubHTTPError, 500), "HfHubHTTPError: 500"),
        (errors.LocalEntryNotFoundError("x"), "can't be reached.*hf download a/b w.pth"),
        (errors.OfflineModeIsEnabled("x"), "can't be reached.*hf download a/b w.pth"),
        (TimeoutError("x"), "can't be reached.*hf download a/b w.pth"),
        (PermissionError(13, "Permission denied", "cache"), "PermissionError.*cache"),
    ],
)
def test_every_failure_names_repository_and_file_and_says_what_to_do(
    failure,
    said,
    stub_hub,  # noqa: F811
    tiny_cffm_cfg,
):
    stub_hub.failure = failure
    expected = rf"(?s)hf://a/b/w\.pth@v2 can't be had: .*{said}"
    model = build_model(tiny_cffm_cfg)
    for use in (PathManager.get_local_path, read_model_info, SegmentorCheckpointer(model).load):
        with pytest.raises(HubFileError, match=expected):
            use("hf://a/b/w.pth@v2")


def test_without_huggingface_hub_the_error_names_the_command_that_installs_it():
    result = run_without(
        ["huggingface_hub"],
        "import cffm_plugin.registration; from detectron2.utils.file_io import PathManager",
        "PathManager.get_local_path('hf://a/b/model.pth')",
    )
    assert "Fetching hf://a/b/model.pth needs huggingface_hub" in result.stderr
    assert "not installed: pip install huggingface" in result.stderr


@pytest.mark.parametrize("revision", ["", "@v2"])
def test_weights_of_the_hub_load_as_the_files_do_and_halves_are_cast(
    tiny_cffm_cfg,
    stub_hub,  # noqa: F811
    repository,
    revision,
):
    model = build_model(tiny_cffm_cfg)
    info = ModelInfo.from_config(tiny_cffm_cfg, ["w", "x", "y", "z"])
    folder = repository.with_name(f"b{revision}")
    write_half_precision(model.state_dict(), folder / "model.safetensors", info.as_metadata())

    torch.manual_seed(1)
    other = build_model(tiny_cffm_cfg)
    path = f"hf://a/b{revision}"
    SegmentorCheckpointer(other, require_all=True).load(path)
    for name, tensor in model.state_dict().items():
        loaded = other.state_dict()[name]
        assert loaded.dtype == tensor.dtype
        expected = tensor.half().float() if tensor.dtype == torch.float32 else tensor
        assert torch.equal(loaded, expected), name
    assert read_model_info(path) == info
    assert {asked[2] for asked in stub_hub.asked} == {revision[1:] or None}


def test_weights_of_the_hub_run_no_code(repository, tiny_cffm_cfg):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"model": Evil()}, repository / "evil.pth")
    with pytest.raises(ValueError, match="code in checkpoints is not run"):
        SegmentorCheckpointer(build_model(tiny_cffm_cfg)).load("hf://a/b/evil.pth")


def test_a_repositorys_model_is_fetched_with_what_is_known_of_it(repository, stub_hub):  # noqa: F811
    (repository / "pytorch_model.bin").write_bytes(b"")
    (repository / "config.json").write_text("{}")
    assert fetch_model_folder("hf://a/b") == repository
    assert ("a/b", "preprocessor_config.json", None) in stub_hub.asked
    assert fetch_model_folder("hf://a/b/config.json") == repository / "config.json"
    with pytest.raises(HubFileError, match="a/b has no file model.safetensors"):
        (repository / "pytorch_model.bin").unlink()
        fetch_model_folder("hf://a/b")


def test_convert_takes_a_repository_of_the_hub(repository, tmp_path, capsys, segformer_encoder):
    torch.save(segformer_encoder, repository / "pytorch_model.bin")
    assert convert(["hf://a/b", str(tmp_path / "ours.pth"), "--encoder-only"]) == 0
    assert "complete for a strict load" in capsys.readouterr().out
    assert len(read_state_dict(tmp_path / "ours.pth")) > 100
    with pytest.raises(SystemExit, match="hf://a/none/model.safetensors can't be had"):
        convert(["hf://a/none", str(tmp_path / "ours.pth")])


@pytest.fixture
def segformer_encoder():
    """MiT-B0 as Hugging Face publishes it, with random weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(depths=[2, 2, 2, 2], hidden_sizes=[32, 64, 160, 256])
    return transformers.SegformerModel(config).state_dict()
