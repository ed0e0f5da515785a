"""Models as folders that others load by name: written, uploaded, loaded."""

import json
import logging
import re
import shlex
import shutil
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from detectron2.modeling import build_model
from fresh_process import ROOT
from huggingface_hub import errors
from stub_hub import http_error, stub_hub  # noqa: F401  (a fixture)

from cffm_plugin import from_pretrained
from cffm_plugin.checkpoint import ModelInfo, SegmentorCheckpointer, read_model_info
from cffm_plugin.cli.publish import main as publish
from cffm_plugin.cli.publish import parse_args
from cffm_plugin.hub import pretrained_config, push_to_hub, save_pretrained
from cffm_plugin.hub_files import HubFileError
from cffm_plugin.inference import StreamingSegmentor, dataset_classes

CLASSES = ("upper", "lower", "upper box", "lower box")
FILES = {"model.safetensors", "config.yaml", "README.md"}


@pytest.fixture
def cfg(tiny_cffm_cfg):
    tiny_cffm_cfg.MODEL.DEVICE = "cpu"
    return tiny_cffm_cfg


@pytest.fixture
def checkpoint(cfg, tmp_path):
    """As training writes it: with its config and classes, and what was of its machine."""
    torch.manual_seed(0)
    model = build_model(cfg)
    for parameter in model.temporal.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    cfg.MODEL.WEIGHTS = str(tmp_path / "start.pth")
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    info = ModelInfo.from_config(cfg, CLASSES, [(k, 2 * k, 3 * k) for k in range(4)])
    SegmentorCheckpointer(model, str(tmp_path), info=info).save("model_final")
    return tmp_path / "model_final.pth"


@pytest.fixture
def results(tmp_path):
    """What an evaluation writes, in part."""
    file = tmp_path / "vspw_results.json"
    scores = {"mIoU": 12.25, "mVC8": None, "IoU-upper": 1.0}
    file.write_text(
        json.dumps({"dataset": "mine_val", "frames": 9, "scored_frames": 7, "sem_seg": scores})
    )
    return file


def streamed(segmentor):
    frames = torch.randint(0, 256, (5, 48, 64, 3), generator=torch.Generator().manual_seed(1))
    return [segmentor.step(frame.byte().numpy(), output="logits") for frame in frames]


def head_and_text(card):
    _, head, text = card.read_text().split("---\n", 2)
    return yaml.safe_load(head), text


def test_what_was_saved_streams_as_the_model_did_to_the_bit(checkpoint, cfg, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    assert {file.name for file in folder.iterdir()} == FILES
    cfg.MODEL.WEIGHTS = str(checkpoint)
    for ours, theirs in zip(streamed(StreamingSegmentor(cfg)), streamed(from_pretrained(folder))):
        assert torch.equal(ours, theirs)


def test_a_model_in_memory_is_saved_as_its_checkpoint_is(checkpoint, cfg, tmp_path):
    model = build_model(cfg)
    SegmentorCheckpointer(model).load(str(checkpoint))
    first = save_pretrained(model, cfg, tmp_path / "first")
    second = save_pretrained(checkpoint, cfg, tmp_path / "second")
    for ours, theirs in zip(streamed(from_pretrained(first)), streamed(from_pretrained(second))):
        assert torch.equal(ours, theirs)
    assert cfg.MODEL.WEIGHTS.endswith("start.pth"), "the caller's config stays as it is"
    with pytest.raises(ValueError, match="Give the config with the model"):
        save_pretrained(model, None, tmp_path / "third")


def test_half_precision_is_loaded_in_full_and_its_weights_are_the_rounded_ones(
    checkpoint, cfg, tmp_path
):
    folder = save_pretrained(checkpoint, None, tmp_path / "half", half=True)
    loaded = from_pretrained(folder).state_dict()
    weights = torch.load(checkpoint, weights_only=True)["model"]
    for name, tensor in weights.items():
        assert loaded[name].dtype == tensor.dtype
        expected = tensor.half().float() if tensor.dtype == torch.float32 else tensor
        assert torch.equal(loaded[name], expected), name
    assert "float16" in (folder / "README.md").read_text()


def test_names_and_colours_of_the_classes_come_with_the_weights(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    classes = [(name, (k, 2 * k, 3 * k)) for k, name in enumerate(CLASSES)]
    assert dataset_classes(pretrained_config(folder)) == classes
    assert read_model_info(folder / "model.safetensors").class_names == CLASSES
    assert "4: upper, lower, upper box, lower box." in (folder / "README.md").read_text()


def test_nothing_of_the_machine_is_published(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    for file in folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file


def test_the_weights_alone_suffice_where_config_yaml_is_gone(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    expected = streamed(from_pretrained(folder))
    (folder / "config.yaml").unlink()
    for ours, theirs in zip(expected, streamed(from_pretrained(folder))):
        assert torch.equal(ours, theirs)


def test_overrides_change_the_loaded_config(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    assert (
        from_pretrained(folder, overrides=["TEST.SMOOTHING", "0.5"]).stream_options["smoothing"]
        == 0.5
    )
    with pytest.raises(KeyError, match="TEST.SMOOTHIN"):
        from_pretrained(folder, overrides=["TEST.SMOOTHIN", "0.5"])


def test_a_config_that_names_code_runs_none_and_says_so(checkpoint, tmp_path, caplog):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    (tmp_path / "code.py").write_text("raise SystemExit('was imported')")
    text = (folder / "config.yaml").read_text()
    assert "IMPORTS: []" in text
    text = text.replace("IMPORTS: []", f"IMPORTS: ['{tmp_path / 'code.py'}']")
    (folder / "config.yaml").write_text(text)
    with caplog.at_level(logging.WARNING, logger="cffm_plugin"):
        from_pretrained(folder)
    assert "MODEL.IMPORTS" in caplog.text and "left out" in caplog.text


def test_a_model_that_needs_code_is_published_without_it_and_the_card_names_it(
    checkpoint, cfg, tmp_path
):
    code = tmp_path / "elsewhere" / "my_code.py"
    code.parent.mkdir()
    code.write_text("LOADED = True\n")
    cfg.MODEL.IMPORTS = [str(code)]
    model = build_model(cfg)
    folder = save_pretrained(model, cfg, tmp_path / "saved")
    assert "IMPORTS: []" in (folder / "config.yaml").read_text()
    _, text = head_and_text(folder / "README.md")
    assert "needs code that is not part of it: my_code.py" in text and "elsewhere" not in text
    with_code = pretrained_config(folder, ["MODEL.IMPORTS", str(code)])
    assert list(with_code.MODEL.IMPORTS) == [str(code)]


def test_a_hugging_face_model_of_this_machine_is_refused(cfg, tmp_path):
    model = build_model(cfg)
    (tmp_path / "hf").mkdir()
    cfg.MODEL.HF.NAME = str(tmp_path / "hf")
    with pytest.raises(ValueError, match="MODEL.HF.NAME is .*hf, a folder of this machine"):
        save_pretrained(model, cfg, tmp_path / "saved")


def test_the_commands_of_the_page_are_commands():
    page = (ROOT / "docs" / "publishing.md").read_text().replace("\\\n", " ")
    found = re.findall(r"^cffm publish (.+)", page, re.M)
    assert len(found) == 2
    for words in found:
        assert parse_args(shlex.split(words)).folder.name == "published"


# The card


def test_the_card_has_the_measured_numbers_and_no_others(checkpoint, results, tmp_path):
    card = save_pretrained(checkpoint, None, tmp_path / "saved", results=[results]) / "README.md"
    head, text = head_and_text(card)
    (measured,) = head["model-index"][0]["results"]  # what the hub shows: those that are defined
    assert measured["dataset"]["name"] == "mine_val"
    assert measured["metrics"] == [{"type": "mIoU", "value": 12.25}]
    assert "| dataset | mIoU | mVC8 | frames with labels |" in text
    assert "| mine_val | 12.25 | undefined | 7 of 9 |" in text


def test_without_results_the_card_says_that_nothing_was_measured(checkpoint, tmp_path):
    card = save_pretrained(checkpoint, None, tmp_path / "saved") / "README.md"
    head, text = head_and_text(card)
    assert "Not measured" in text and "mIoU" not in text
    assert "license" not in head and "None was stated" in text


def test_the_card_states_licence_parameters_and_how_to_load_it(checkpoint, cfg, tmp_path):
    folder = save_pretrained(
        checkpoint, None, tmp_path / "saved", name="owner/model", licence="apache-2.0"
    )
    head, text = head_and_text(folder / "README.md")
    assert head["license"] == "apache-2.0" and head["library_name"] == "cffm_plugin"
    parameters = sum(p.numel() for p in build_model(cfg).parameters())
    assert f"| parameters | {parameters / 1e6:.2f} M |" in text
    code = text.split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 3 and 'from_pretrained("owner/model")' in code
    names = {"frame": np.zeros((32, 48, 3), np.uint8)}
    exec(code.replace("owner/model", str(folder)), names)
    assert names["labels"].shape == (32, 48)


def test_results_that_are_something_else_are_an_error_and_nothing_is_written(checkpoint, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"mIoU": 99}')
    with pytest.raises(ValueError, match=r"wrong\.json is damaged.*the results of an evaluation"):
        save_pretrained(checkpoint, None, tmp_path / "saved", results=[wrong])
    assert not (tmp_path / "saved").exists()


def test_a_model_that_is_there_is_written_over_only_if_asked(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    with pytest.raises(FileExistsError, match="saved holds model.safetensors.*--overwrite"):
        save_pretrained(checkpoint, None, folder)
    save_pretrained(checkpoint, None, folder, overwrite=True, licence="mit")
    assert head_and_text(folder / "README.md")[0]["license"] == "mit"


# The hub


@pytest.mark.parametrize("name", ["a/b", "hf://a/b", "a/b@v1"])
def test_a_repository_loads_as_its_folder_does(name, checkpoint, tmp_path, stub_hub):  # noqa: F811
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    shutil.copytree(folder, stub_hub.root / "a" / "b")
    shutil.copytree(folder, stub_hub.root / "a" / "b@v1")
    for ours, theirs in zip(streamed(from_pretrained(folder)), streamed(from_pretrained(name))):
        assert torch.equal(ours, theirs)
    assert {asked[2] for asked in stub_hub.asked} == {"v1" if name.endswith("@v1") else None}


def test_what_is_neither_folder_nor_repository_is_an_error_that_says_so(tmp_path, stub_hub):  # noqa: F811
    with pytest.raises(HubFileError, match="a/none is no folder here.*no repository a/none"):
        from_pretrained("a/none")
    with pytest.raises(FileNotFoundError, match="no such folder, and it is no name on the hub"):
        from_pretrained(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no model.safetensors"):
        from_pretrained(tmp_path)


class StubApi:
    """huggingface_hub's HfApi, as far as uploading asks for it."""

    calls: list = []
    failure = None

    def create_repo(self, repository, **options):
        self.calls.append(("create", repository, options))
        if self.failure is not None:
            raise self.failure

    def upload_folder(self, *, folder_path, allow_patterns, **options):
        sent = {file.name for file in folder_path.iterdir() if file.name in allow_patterns}
        self.calls.append(("upload", sent, options))
        return SimpleNamespace(commit_url="commit 1")


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", StubApi)
    monkeypatch.setattr(StubApi, "calls", [])
    monkeypatch.setattr(StubApi, "failure", None)
    return StubApi


def test_the_command_writes_and_uploads_the_three_files_and_nothing_beside_them(
    api, checkpoint, results, tmp_path, capsys
):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "secret.txt").write_text("not for others")
    arguments = ["--weights", str(checkpoint), "--half", "--results", str(results)]
    arguments += ["--licence", "apache-2.0", "--push", "owner/model"]
    assert publish([str(folder), *arguments]) == 0
    assert "Uploaded: commit 1" in capsys.readouterr().out
    create, upload = api.calls
    assert create == ("create", "owner/model", {"private": True, "exist_ok": True})
    assert upload[1] == FILES and upload[2]["repo_id"] == "owner/model"
    assert "# owner/model" in (folder / "README.md").read_text()

    assert publish([str(folder), "--push", "owner/model", "--public"]) == 0  # as it is
    assert api.calls[2][2]["private"] is False and api.calls[3][1] == FILES


def test_an_upload_that_fails_names_folder_and_repository_and_says_what_to_do(
    api, checkpoint, tmp_path
):
    folder = save_pretrained(checkpoint, None, tmp_path / "saved")
    api.failure = http_error(errors.HfHubHTTPError, 401)
    with pytest.raises(HubFileError, match=r"saved was not uploaded to a/b .*hf auth login"):
        push_to_hub(folder, "a/b")
    (folder / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="lacks README.md"):
        push_to_hub(folder, "a/b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "--weights to write"), (["--push", "a/b", "--half"], "only --push goes without")],
)
def test_wrong_usage_of_the_command_is_said(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        publish([str(tmp_path), *arguments])
    assert said in capsys.readouterr().err


def test_a_checkpoint_without_a_config_asks_for_one_and_takes_a_name(checkpoint, tmp_path):
    torch.save({"model": torch.load(checkpoint, weights_only=True)["model"]}, tmp_path / "w.pth")
    arguments = [str(tmp_path / "saved"), "--weights", str(tmp_path / "w.pth")]
    with pytest.raises(SystemExit, match=r"w\.pth carries no config"):
        publish(arguments)
    with pytest.raises(SystemExit, match="another architecture"):
        publish([*arguments, "--config-file", "vspw/cffm_mit_b0", "--opts", "MODEL.DEVICE", "cpu"])
