"""cffm export, run in this process."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling import build_model
from full_disk import files_at_most

from cffm_plugin.checkpoint import INFO_KEY, ModelInfo
from cffm_plugin.cli import export
from cffm_plugin.cli.work import export as work
from cffm_plugin.config import load_config
from cffm_plugin.export.parity import Agreement
from cffm_plugin.synthetic import SYNTHETIC_CLASSES

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "quickstart" / "cffm.yaml"
OVERRIDES = (
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.CFFM.NUM_HEADS", "4"),
    *("MODEL.TEMPORAL.NAME", "CFFM"),  # exported in half of the time of CFFMRecall
)


@pytest.fixture
def run(capsys):
    """Runs the tool with arguments; returns what it prints."""

    def run_tool(*arguments):
        assert export.main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run_tool


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = build_model(load_config(str(CONFIG), [*OVERRIDES, "MODEL.DEVICE", "cpu"]))
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.slow(reason="exports to ONNX")
def test_it_exports_what_a_config_says_and_checks_it(run, weights, tmp_path):
    printed = run(
        *("--config-file", CONFIG, "--output", tmp_path / "exported", "--size", "32", "48"),
        *("--format", "onnx", "--check", "--check-frames", "5", *OVERRIDES),
        *("MODEL.WEIGHTS", weights),
    )
    assert "onnx: 5 frames: logits differ by at most" in printed
    files = {file.name for file in (tmp_path / "exported").iterdir()}
    assert files == {"encode.onnx", "classify.onnx", "refine.onnx", "stream.json"}
    manifest = json.loads((tmp_path / "exported" / "stream.json").read_text())
    assert manifest["class_names"] == list(SYNTHETIC_CLASSES[:10])
    assert manifest["references"]["offsets"] == [-9, -6, -3]
    assert manifest["frame"] == {
        "height": 32,
        "width": 48,
        "image_format": "RGB",
        "fit_size": [224, 168],
        "size_divisibility": 8,
    }


@pytest.mark.parametrize("own", ["bfloat16", "float32"])
@pytest.mark.parametrize(("labels", "advice"), [(0.99, 1), (0.996, 0)])
def test_openvino_is_checked_in_its_own_precision_and_in_float32(
    own, labels, advice, monkeypatch, tmp_path, capsys
):
    def load_graphs(folder, manifest, runtime="onnxruntime", float32=False):
        is_own = runtime == "openvino" and not float32
        return {"encode": SimpleNamespace(precision=own if is_own else "float32")}

    def compare(segmentor, graphs, frames, prototypes):
        is_exact = graphs["encode"].precision == "float32"
        return Agreement(4, 1e-6, 1.0) if is_exact else Agreement(4, 0.3, labels)

    names = {"load_graphs": load_graphs, "compare": compare, "read_manifest": lambda folder: {}}
    for name, stub in (*names.items(), ("Stream", lambda manifest, graphs: graphs)):
        monkeypatch.setattr(work, name, stub)
    arguments = ("--output", str(tmp_path), "--size", "32", "48", "--check", "--check-openvino")
    args = export.parse_args([*arguments, "--format", "onnx"])
    segmentor = SimpleNamespace(model=SimpleNamespace(prototype_branch=None))
    assert work.check(segmentor, args)  # what is exported is right; the advice is for its use
    printed = capsys.readouterr().out
    assert f"onnx, openvino in {own}: 4 frames" in printed
    assert printed.count("onnx, openvino --float32: 4 frames") == (own == "bfloat16")
    assert printed.count("run_onnx_stream.py --runtime openvino --float32") == (
        advice if own == "bfloat16" else 0
    )


@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_a_full_disk_is_told_with_the_path_and_the_old_graphs_stay(run, weights, tmp_path, format):
    folder = tmp_path / "exported"
    folder.mkdir()
    names = [f"encode{suffix}" for suffix in (".onnx", ".pt2")]
    for name in names:
        (folder / name).write_bytes(b"old")
    with files_at_most(5_000), pytest.raises(SystemExit, match=r"encode\.\w+ could not be written"):
        run(
            *("--format", format, "--config-file", CONFIG, "--output", folder),
            *("--size", "32", "48", *OVERRIDES, "MODEL.WEIGHTS", weights),
        )
    assert sorted(os.listdir(folder)) == names
    assert all((folder / name).read_bytes() == b"old" for name in names)


def test_the_class_names_of_the_checkpoint_go_before_the_datasets(run, weights, tmp_path):
    names = [f"mine {k}" for k in range(10)]
    info = ModelInfo(tuple(names), pixel_mean=(1, 2, 3), pixel_std=(1, 1, 1), image_format="BGR")
    checkpoint = torch.load(weights, weights_only=True) | {INFO_KEY: info.as_dict()}
    torch.save(checkpoint, weights)
    run(
        *("--format", "torch_export", "--config-file", CONFIG),
        *("--output", tmp_path / "exported", "--size", "32", "48"),
        *(*OVERRIDES, "MODEL.WEIGHTS", weights),
    )
    manifest = json.loads((tmp_path / "exported" / "stream.json").read_text())
    assert manifest["class_names"] == names


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("MODEL.WEIGHTS", "missing.pth"), "missing.pth"),
        (("MODEL.CFFM.DEPHT", "2"), "MODEL.CFFM.DEPTH"),
    ],
)
def test_mistakes_are_errors_without_a_traceback(run, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run("--config-file", CONFIG, "--output", tmp_path, "--size", "32", "48", *arguments)
