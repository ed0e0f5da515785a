"""Exported folders from elsewhere: what leads out of them or asks for too much is refused."""

import copy
import json
import os
import random
import shutil

import numpy as np
import onnx
import pytest
from full_disk import files_at_most

from cffm_plugin.export import load_programs, onnx_runner
from cffm_plugin.export.onnx_runner import Stream, load_graphs, read_manifest


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of an exported folder, beside a file that is nobody's business."""
    (tmp_path / "secret.onnx").write_bytes((exported("mit").folder / "encode.onnx").read_bytes())
    return shutil.copytree(exported("mit").folder, tmp_path / "exported")


def change(folder, *keys, to):
    """Set, or with ``to`` ... remove, an entry of stream.json."""
    file = folder / "stream.json"
    manifest = at = json.loads(file.read_text())
    for key in keys[:-1]:
        at = at[key]
    if to is ...:
        del at[keys[-1]]
    else:
        at[keys[-1]] = to
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "key, to, message",
    [
        ("shape", [1 << 15, 1 << 15], "shape: expected states of 268435456 values in all at most"),
        ("shape", [1, "many"], r"shape\[1\]: expected an integer"),
        ("state", "labels", "state: expected logits or next_state_0 or next_state_1, got 'labels'"),
        ("dtype", "float64", "dtype: expected float32"),
        ("from", "encode", "from: expected step"),
    ],
)
def test_a_state_that_is_none_or_too_large_is_refused(exported, tmp_path, key, to, message):
    folder = shutil.copytree(exported("recurrent").folder, tmp_path / "exported")
    inputs = json.loads((folder / "stream.json").read_text())["graphs"]["step"]["inputs"]
    place = next(i for i, item in enumerate(inputs) if item["name"] == "state_0")
    change(folder, "graphs", "step", "inputs", place, key, to=to)
    with pytest.raises(ValueError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize("load", ["onnx", "torch_export"])
@pytest.mark.parametrize(
    "name", ["../secret.onnx", "{tmp}/secret.onnx", "link", "a/../../secret.onnx", "..", "", "a\\b"]
)
def test_graphs_outside_of_the_folder_are_refused(folder, tmp_path, name, load):
    name = name.format(tmp=tmp_path)
    (folder / "link").symlink_to(tmp_path / "secret.onnx")
    (folder / "a").mkdir()
    change(folder, "graphs", "encode", "files", load, to=name)
    told = pytest.raises(ValueError, match=rf"stream.json: graphs.encode.files.{load}: .* folder")
    with told:
        if load == "onnx":
            load_graphs(folder, read_manifest(folder))
        else:
            load_programs(folder)


def point_outside(folder, tmp_path, location):
    """Let a graph name weights that lie elsewhere, by a path or a link."""
    model = onnx.load(folder / "classify.onnx")
    weights = next(w for w in model.graph.initializer if w.data_type == 1 and w.raw_data)
    (tmp_path / "secret.bin").write_bytes(weights.raw_data)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location.format(tmp=tmp_path))
    (folder / "classify.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../secret.bin", "{tmp}/secret.bin", "link.bin"])
def test_external_data_outside_of_the_folder_is_refused(folder, tmp_path, location):
    point_outside(folder, tmp_path, location)
    with pytest.raises(ValueError, match="classify.onnx: onnxruntime can't load it"):
        load_graphs(folder, read_manifest(folder))


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "gone", "swapped"])
def test_a_damaged_graph_is_an_error_that_names_it(folder, damage):
    file = folder / "refine.onnx"
    if damage == "gone":
        file.unlink()
    elif damage == "swapped":
        shutil.copy(folder / "encode.onnx", file)
    else:
        content = {"cut": file.read_bytes()[:-999], "other": b"hello", "empty": b""}[damage]
        file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match="refine.onnx: "):
        load_graphs(folder, read_manifest(folder))


@pytest.mark.parametrize(
    "keys, value, said",
    [
        (("format_version",), ..., "there is no format_version"),
        (("format_version",), "1", "format_version: expected an integer"),
        (("format_version",), 2, "format version 2, this runner reads 1"),
        (("frame",), ..., "there is no frame"),
        (("frame",), [], "frame: expected an object"),
        (("frame", "height"), 10**9, "frame height and width"),
        (("frame", "height"), 0, "frame height and width"),
        (("frame", "width"), 1.5, "frame height and width"),
        (("frame", "width"), True, "frame height and width"),
        (("frame", "image_format"), "GBR", "frame.image_format: expected RGB or BGR, got 'GBR'"),
        (("frame", "fit_size"), [10**9, 10**9], "frame.fit_size"),
        (("frame", "size_divisibility"), 0, "frame.size_divisibility"),
        (("references", "offsets"), [-3, -6, -9], "references.offsets"),
        (("references", "offsets"), [-(10**9), -6, -3], r"references.offsets\[0\]"),
        (("references", "first_frames"), [[]] * 8, "references.first_frames: expected a list of 9"),
        (("references", "first_frames", 3), [0, 1, 3], r"first_frames\[3\]\[2\]"),
        (("references", "first_frames", 4), [0, 1], r"first_frames\[4\]: expected 3"),
        (("logits", "resize_to"), [[10**9, 10**9]], r"logits.resize_to\[0\]"),
        (("logits", "resize_to"), [], "logits.resize_to: expected a list of 1 to 8"),
        (("logits", "resize_to", 0), [4, 4, 4], r"logits.resize_to\[0\]: expected a list of 2"),
        (("logits", "crop_to"), [999, 999], "logits.crop_to: expected no more than"),
        (("num_classes",), 10**9, "num_classes: expected an integer from 1 to 65536"),
        (("class_names",), ["one"], "class_names: expected 6 names or none"),
        (("graphs", "refine"), ..., "graphs: expected the graphs encode, classify, refine"),
        (("graphs", "classify", "files"), "x", "graphs.classify.files: expected an object"),
        (("graphs", "classify", "files", "onnx"), 7, "graphs.classify.files.onnx"),
        (("graphs", "classify", "outputs"), [], "graphs.classify.outputs: expected logits"),
        (("graphs", "refine", "inputs", 1, "reference"), 3, r"refine.inputs\[1\].reference"),
        (("graphs", "refine", "inputs", 1, "name"), "x", r"refine.inputs\[1\].name"),
        (("graphs", "encode", "inputs"), [], "graphs.encode.inputs: expected one, frame"),
    ],
)
def test_entries_that_are_wrong_are_named(folder, keys, value, said):
    change(folder, *keys, to=value)
    with pytest.raises(ValueError, match=said):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * 9000, b"NaN"]
)
def test_what_is_no_object_of_json_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "stream.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"stream\.json"):
        read_manifest(tmp_path)


def test_a_stream_json_of_any_size_is_not_read(tmp_path):
    with open(tmp_path / "stream.json", "wb") as file:
        file.truncate(1 << 40)  # it takes no room
    with pytest.raises(ValueError, match="stream.json: 1099511627776 bytes"):
        read_manifest(tmp_path)


def test_any_damage_of_stream_json_is_a_value_error_or_a_stream_that_works(folder):
    """Entries at random become something else, or go: no other kind of error comes of it."""
    rng = random.Random(0)
    sound = read_manifest(folder)
    graphs = load_graphs(folder, sound)
    values = [None, True, -1, 0, 1, 10**9, 1e300, "", "x", "../x", [], [0], [[]], {}, {"name": 1}]
    refused = 0
    for _ in range(400):
        manifest = copy.deepcopy(sound)
        at = manifest
        while True:
            key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if not isinstance(at[key], dict | list) or not at[key] or rng.random() < 0.3:
                break
            at = at[key]
        if rng.random() < 0.3:
            del at[key]
        else:
            at[key] = rng.choice(values)
        (folder / "stream.json").write_text(json.dumps(manifest))
        try:
            read = read_manifest(folder)
        except ValueError as error:
            refused += 1
            assert "stream.json" in str(error)
            continue
        try:
            Stream(read, graphs).step(np.zeros((64, 96, 3), np.uint8))
        except ValueError as error:
            assert ".onnx" in str(error)
    assert refused > 200


def spoiled(graphs, at):
    """The graphs, of which ``classify`` and ``refine`` give NaN at their ``at``-th frame."""
    calls = []

    def run(graph, inputs, outputs):
        results = graph(inputs, outputs)
        calls.append(1)
        if len(calls) == at:
            results["logits"] = results["logits"] * np.float32("nan")
        return results

    return graphs | {
        name: lambda inputs, outputs, name=name: run(graphs[name], inputs, outputs)
        for name in ("classify", "refine")
    }


@pytest.mark.parametrize("kind", ["mit", "timm"])  # labels from the graph, and from OpenCV
@pytest.mark.parametrize("at", [2, 6])
def test_logits_that_are_not_finite_are_an_error_and_the_stream_goes_on(exported, kind, at):
    folder = exported(kind).folder
    manifest = read_manifest(folder)
    graphs = load_graphs(folder, manifest)
    stream, undisturbed = Stream(manifest, spoiled(graphs, at)), Stream(manifest, graphs)
    frames = np.random.default_rng(0).integers(0, 256, (9, *exported(kind).size, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        if index == at - 1:
            with pytest.raises(FloatingPointError, match=f"Frame {index} .*NaN or infinite"):
                stream.step(frame)
            continue
        assert np.array_equal(stream.step(frame), undisturbed.step(frame))


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 5), (5, 5, 4)])
def test_frames_of_another_shape_or_without_pixels_are_refused(onnx_stream, shape):
    with pytest.raises(ValueError, match="a frame is"):
        onnx_stream("mit").step(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("content", [np.zeros(4), np.full((4, 32), np.nan), np.zeros((4, 2), bool)])
def test_prototypes_that_are_none_are_an_error_that_names_the_file(tmp_path, content):
    np.save(tmp_path / "p.npy", content)
    with pytest.raises(ValueError, match="p.npy: expected prototypes"):
        onnx_runner.read_prototypes(tmp_path / "p.npy")


@pytest.mark.parametrize("content", [b"", b"no numpy", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_of_prototypes_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "p.npy").write_bytes(content)
    with pytest.raises(ValueError, match="p.npy: expected prototypes"):
        onnx_runner.read_prototypes(tmp_path / "p.npy")


def test_a_full_disk_leaves_no_half_mask(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    with files_at_most(500), pytest.raises(OSError):
        onnx_runner.write_png(tmp_path / "1.png", noise)
    assert os.listdir(tmp_path) == []
