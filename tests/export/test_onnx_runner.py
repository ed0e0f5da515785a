"""The runner in one file: the package's streams without the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T

from cffm_plugin.data import inference_clip
from cffm_plugin.data.augmentation import inference_augmentations
from cffm_plugin.data.images import image_to_tensor
from cffm_plugin.export import onnx_runner

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "run_onnx_stream.py"
NOT_THERE = ("torch", "torchvision", "detectron2", "cffm_plugin", "onnx", "onnxscript")


def make_frames(count, size, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def run_tool(*arguments, script=TOOL, blocked=()):
    """Run a script in a process where importing ``blocked`` packages fails."""
    code = f"""
import runpy, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {tuple(blocked)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
sys.argv = {[str(script), *map(str, arguments)]!r}
runpy.run_path({str(script)!r}, run_name="__main__")
loaded = sorted({{name.split(".")[0] for name in sys.modules}} & set({tuple(blocked)!r}))
assert not loaded, loaded
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.fixture
def image_folder(tmp_path):
    """Five images of 64x96, and what is no image."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, frame in enumerate(make_frames(5, (64, 96))):
        cv2.imwrite(str(folder / f"{i:03d}.png"), frame)
    (folder / "notes.txt").write_text("not a frame")
    return folder


@pytest.mark.slow(reason="exports to ONNX")
@pytest.mark.parametrize("copied", [False, True], ids=["tool", "copied file"])
def test_it_runs_with_onnxruntime_numpy_and_opencv_alone(
    exported, onnx_stream, image_folder, copied
):
    script = TOOL
    if copied:
        script = image_folder.parent / "somewhere" / "runner.py"
        script.parent.mkdir()
        shutil.copy(onnx_runner.__file__, script)
    folder, prototypes = exported("plus").folder, exported("plus").prototypes.numpy()
    output, file = image_folder.parent / "masks", image_folder.parent / "prototypes.npy"
    np.save(file, prototypes)
    result = run_tool(
        *("--model", folder, "--input", image_folder, "--output", output, "--prototypes", file),
        script=script,
        blocked=NOT_THERE,
    )
    assert result.returncode == 0, result.stderr
    assert "5 frames" in result.stdout
    stream = onnx_stream("plus")
    for i, frame in enumerate(make_frames(5, (64, 96))):
        mask = cv2.imread(str(output / f"{i:03d}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, stream.step(frame, prototypes))
    assert len(list(output.iterdir())) == 5


def test_it_reads_a_video_file(exported, tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64)
    )
    for frame in make_frames(4, (64, 96)):
        writer.write(frame)
    writer.release()
    arguments = ("--input", tmp_path / "video.avi", "--output", tmp_path / "masks")
    result = run_tool("--model", exported("image").folder, *arguments)
    assert result.returncode == 0, result.stderr
    names = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "000003.png"]


def test_the_runner_in_the_docs_gives_what_the_tool_gives(exported, onnx_stream):
    code = (ROOT / "docs" / "export.md").read_text().split("```python\n")[1].split("```")[0]
    stream = onnx_stream("mit")
    images = [stream.prepare(frame) for frame in make_frames(11, exported("mit").size)]
    outputs = {
        name: [item["name"] for item in graph["outputs"]]
        for name, graph in stream.manifest["graphs"].items()
    }
    namespace = {
        "manifest": stream.manifest,
        "video": [image[None] for image in images],
        "run": lambda name, inputs: stream.graphs[name](inputs, outputs[name]),
    }
    exec(code, namespace)
    for image in images:
        (logits,) = stream.run(image, ["logits"])
    assert np.array_equal(namespace["logits"][0], logits)


def test_images_come_in_natural_order(tmp_path):
    for name in ("frame10.png", "frame9.png", "frame_b.png", "frame1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 4, 3), dtype=np.uint8))
    names = [name for name, _ in onnx_runner.read_frames(tmp_path)]
    assert names == ["2", "frame1", "frame9", "frame10", "frame_b"]


@pytest.mark.parametrize("kind", ["mit", "timm"])  # labels from the graph, and from OpenCV
def test_label_maps_are_those_of_the_package_in_the_size_of_the_frame(exported, onnx_stream, kind):
    segmentor, stream = exported(kind).segmentor, onnx_stream(kind)
    segmentor.reset()
    for frame in make_frames(12, exported(kind).size):
        labels = stream.step(frame)
        assert labels.dtype == np.uint8
        assert (labels == segmentor.step(frame, channel_order="BGR").numpy()).mean() > 0.999
    (frame,) = make_frames(1, (75, 80))
    assert onnx_stream(kind).step(frame).shape == (75, 80)


@pytest.mark.parametrize("size", [(48, 64), (60, 107), (97, 55), (200, 301)])
@pytest.mark.parametrize("fit_size, divisor", [((107, 60), 32), ((64, 48), 1)])
@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_frames_are_resized_as_for_evaluation(size, fit_size, divisor, image_format):
    (frame,) = make_frames(1, size)
    expected = T.AugInput(frame)
    T.AugmentationList(inference_augmentations(fit_size=fit_size, divisor=divisor))(expected)
    height, width = expected.image.shape[:2]
    described = {"height": height, "width": width, "image_format": image_format}
    described |= {"fit_size": fit_size, "size_divisibility": divisor}
    image = make_stream(frame=described).prepare(frame)
    assert image.dtype == np.float32
    assert np.array_equal(image, image_to_tensor(expected.image, image_format).float().numpy())


def test_frames_of_another_shape_are_resized_straight_to_the_graphs_size():
    (frame,) = make_frames(1, (50, 50))
    described = {"height": 32, "width": 64, "image_format": "BGR"}
    described |= {"fit_size": (64, 48), "size_divisibility": 32}
    image = make_stream(frame=described).prepare(frame)
    assert np.array_equal(image.transpose(1, 2, 0), cv2.resize(frame, (64, 32)))


def make_stream(offsets=(-9, -6, -3), frame=None):
    """A stream with graphs that give nothing."""
    first_frames = [inference_clip(t, offsets)[:-1] for t in range(-min(offsets))]
    cells = [{"name": "cells", "from": "encode"}]
    for i in range(len(offsets)):
        cells.append({"name": f"tokens_slot{i}_0", "from": "encode", "reference": i})
    embedding = [{"name": "embedding", "from": "encode"}]
    manifest = {
        "format_version": 1,
        "frame": frame or {"height": 8, "width": 8, "image_format": "BGR"},
        "references": {"offsets": list(offsets), "first_frames": first_frames},
        "graphs": {
            "classify": {"inputs": embedding, "outputs": [{"name": "logits"}]},
            "refine": {"inputs": cells},
        },
    }
    return onnx_runner.Stream(manifest, {})


@pytest.mark.parametrize("offsets", [(-9, -6, -3), (-2, -1), (-1,), (-30, -2), (-7, -5, -4, -1)])
def test_references_are_those_of_a_clip(offsets):
    stream = make_stream(offsets)
    for target in range(70):
        assert stream.references(target) == inference_clip(target, offsets)[:-1]


@pytest.mark.parametrize("offsets", [(-9, -6, -3), (-2, -1), (-30, -2), (-7, -5, -4, -1)])
def test_every_frame_finds_its_references_in_bounded_memory(offsets):
    stream = make_stream(offsets)
    asked = []

    def encode(inputs, names):
        asked.append(set(names))
        index = np.float32(stream.index)
        return {name: np.full((1, 1), index) for name in names}

    def refine(inputs, names):
        references = inference_clip(stream.index, offsets)[:-1]
        for slot, reference in enumerate(references):
            assert inputs[f"tokens_slot{slot}_0"] == reference
        assert inputs["cells"] == stream.index
        return {"logits": np.zeros((1, 2, 4, 4))}

    stream.graphs = {
        "encode": encode,
        "refine": refine,
        "classify": lambda inputs, names: {"logits": np.zeros((1, 2, 4, 4))},
    }
    sizes = []
    for _ in range(100):
        stream.run(np.zeros((3, 8, 8), dtype=np.float32), ["logits"])
        sizes.append(len(stream.kept))
    assert len(set(sizes[40:])) == 1
    assert sizes[-1] == -sum(offsets)  # a frame of offset -o is kept for o frames, for that slot
    assert all(("embedding" in names) == (i < len(offsets)) for i, names in enumerate(asked))


def test_after_a_reset_a_video_begins_and_missing_prototypes_are_an_error(exported, onnx_stream):
    stream = onnx_stream("plus")
    frames = make_frames(5, exported("plus").size)
    prototypes = exported("plus").prototypes.numpy()
    first = [stream.step(frame, prototypes) for frame in frames]
    stream.reset()
    with pytest.raises(ValueError, match="prototypes"):
        stream.step(frames[0])
    stream.reset()
    assert all(np.array_equal(stream.step(f, prototypes), x) for f, x in zip(frames, first))


@pytest.mark.parametrize("what", ["model", "input", "empty", "broken"])
def test_mistakes_are_errors_that_name_the_file(exported, tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    model = tmp_path / "nothing" if what == "model" else exported("image").folder
    name = {"model": "empty", "input": "missing.mp4", "empty": "empty", "broken": "broken.mp4"}
    result = run_tool(
        *("--model", model, "--input", tmp_path / name[what], "--output", tmp_path / "masks")
    )
    assert result.returncode == 1
    named = "nothing/stream.json" if what == "model" else name[what]
    assert named in result.stderr and "Traceback" not in result.stderr
