"""Segments a video by the ONNX graphs that cffm export wrote.

    python onnx_runner.py --model exported/ --input video.mp4 --output masks/

Needs onnxruntime or openvino, numpy and opencv, and imports nothing of the package that it lies in:
copy this file and the folder to where they are to run. Writes a PNG per frame with the class of
every pixel.
"""

import argparse
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FORMAT_VERSION = 1
# What a stream.json may ask for: more is a damaged or a hostile file.
MOST_BYTES = 1 << 24  # of itself
MOST_PIXELS = 1 << 26  # of a frame
MOST_CLASSES = 1 << 16  # what a PNG holds
MOST_FRAMES = 10_000  # that a reference may lie back
MOST_VALUES = 1 << 28  # of a state
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Graph = Callable[[dict[str, np.ndarray], Sequence[str]], dict[str, np.ndarray]]

logger = logging.getLogger(__name__)


class Stream:
    """Segments the frames of one video as they come, by ``step``.

    Past frames are kept as the tokens that later frames need of them, and no longer; or as a state.

    Args:
        manifest: the content of stream.json.
        graphs: by name, ``run(inputs, output_names)`` -> outputs by name.
    """

    def __init__(self, manifest: Mapping[str, Any], graphs: Mapping[str, Graph]):
        check_version(manifest)
        self.manifest = manifest
        self.graphs = graphs
        self.size = (manifest["frame"]["height"], manifest["frame"]["width"])
        described = manifest["graphs"]
        self.is_recurrent = "step" in described
        refine = described.get("step" if self.is_recurrent else "refine", {"inputs": []})
        self.needs_prototypes = any(item["name"] == "prototypes" for item in refine["inputs"])
        self.reference_of = {  # input of refine -> which reference it is of
            item["name"]: item["reference"] for item in refine["inputs"] if "reference" in item
        }
        self.state_inputs = refine["inputs"] if self.is_recurrent else []
        self.state_inputs = [item for item in self.state_inputs if "state" in item]
        outputs = manifest["graphs"]["classify"]["outputs"]
        self.has_labels = any(item["name"] == "labels" for item in outputs)
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of a video."""
        self.index = 0
        self.kept: dict[tuple[int, str], np.ndarray] = {}  # (past frame, name) -> tokens
        self.state = {  # input of step -> what it is at a video's start
            item["name"]: np.zeros(item["shape"], dtype=np.float32) for item in self.state_inputs
        }

    def step(self, frame: np.ndarray, prototypes: np.ndarray | None = None) -> np.ndarray:
        """Segment the next frame.

        Args:
            frame: (height, width, 3) uint8, blue-green-red, of any size.
            prototypes: of the video, (P, dim), where the model needs them.

        Returns:
            the class of every pixel, (height, width) uint8 (int64 for more than 256 classes).

        Raises:
            ValueError: the frame is of another kind, or prototypes are missing.
            FloatingPointError: the logits are NaN or infinite. The stream is as it was before.
        """
        image = self.prepare(frame)
        if not self.has_labels:
            (logits,) = self.run(image, ["logits"], prototypes)
            return self.label_map(logits, frame.shape[:2])
        (labels,) = self.run(image, ["labels"], prototypes)
        rows, columns = (  # nearest
            np.arange(side) * from_side // side
            for side, from_side in zip(frame.shape[:2], labels.shape)
        )
        return labels[np.ix_(rows, columns)]

    def full_logits(self, image: np.ndarray, prototypes: np.ndarray | None = None) -> np.ndarray:
        """The next frame, (3, H, W) float32 as the graphs take it -> logits (K, H, W)."""
        (logits,) = self.run(image, ["logits"], prototypes)
        return np.stack(list(self.resized(logits, self.size)))

    def run(
        self, image: np.ndarray, outputs: Sequence[str], prototypes: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The next frame through the graphs.

        Args:
            image: (3, H, W) float32, 0..255, of the graphs' size and channel order.
            outputs: "logits" (K, h, w), and "labels" (H, W) where the graphs have them.
            prototypes: of the video, (P, dim).
        """
        prototype_inputs = {}
        if self.needs_prototypes:
            if prototypes is None:
                raise ValueError("this model (CFFM++) needs the prototypes of the video, (P, dim)")
            prototype_inputs = {"prototypes": prototypes[None]}
        references = self.references(self.index)
        needed = self.needed_later(self.index + 1)
        tokens = [name for frame, name in needed if frame == self.index]
        graph = "step" if self.is_recurrent else "refine" if references else "classify"
        wanted = self.manifest["graphs"][graph]["inputs"]
        of_past = {"reference", "state"}
        frame_inputs = [i["name"] for i in wanted if "from" in i and not of_past & i.keys()]
        encoded = self.graphs["encode"]({"frame": image[None]}, [*frame_inputs, *tokens])
        inputs = {name: encoded[name] for name in frame_inputs}
        if graph != "classify":
            inputs |= prototype_inputs | self.state
            for name, reference in self.reference_of.items():
                inputs[name] = self.kept[references[reference], name]
        states = [item["state"] for item in self.state_inputs]
        results = self.graphs[graph](inputs, [*dict.fromkeys(["logits", *outputs, *states])])
        if not np.isfinite(results["logits"]).all():
            raise FloatingPointError(
                f"Frame {self.index} of the stream (counted from 0): logits are NaN or infinite. "
                "Look at the frame, at the prototypes where it takes some, and at the checkpoint "
                "that was exported"
            )
        self.kept.update({(self.index, name): encoded[name] for name in tokens})
        self.kept = {key: value for key, value in self.kept.items() if key in needed}
        self.state = {item["name"]: results[item["state"]] for item in self.state_inputs}
        self.index += 1
        return [results[name][0] if name == "logits" else results[name] for name in outputs]

    def references(self, target: int) -> list[int]:
        """The past frames that a frame looks at, oldest first; [] for the first frames."""
        first_frames = self.manifest["references"]["first_frames"]
        if target < len(first_frames):
            return first_frames[target]
        return [target + offset for offset in self.manifest["references"]["offsets"]]

    def needed_later(self, index: int) -> set[tuple[int, str]]:
        """(frame, name) of the tokens of frames before ``index`` that it and later ones need."""
        span = len(self.manifest["references"]["first_frames"])
        return {
            (references[reference], name)
            for references in map(self.references, range(index, index + span))
            if references
            for name, reference in self.reference_of.items()
            if references[reference] < index
        }

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """A frame (height, width, 3), blue-green-red -> (3, H, W) float32 for the graphs.

        Resized as the model's own evaluation does where that gives the graphs' size, otherwise
        straight to it.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame is (height, width, 3), blue-green-red, got {frame.shape}")
        sizes = self.evaluation_sizes(frame.shape[:2])
        for height, width in sizes if sizes[-1] == self.size else [self.size]:
            if frame.shape[:2] != (height, width):
                frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.manifest["frame"]["image_format"] == "RGB":
            frame = frame[:, :, ::-1]
        return np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32)

    def evaluation_sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """What evaluation resizes a frame to: to fit, then up to a multiple."""
        height, width = size
        if self.manifest["frame"]["fit_size"] is not None:
            long_side, short_side = self.manifest["frame"]["fit_size"]
            scale = min(long_side / max(size), short_side / min(size))
            height, width = (max(1, int(side * scale + 0.5)) for side in size)
        divisor = self.manifest["frame"]["size_divisibility"]
        return [(height, width), (-(-height // divisor) * divisor, -(-width // divisor) * divisor)]

    def resized(self, logits: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """Logits (K, h, w) -> of one class after the other, for a frame of a size."""
        crop_height, crop_width = self.manifest["logits"]["crop_to"]
        for class_logits in logits:
            for height, width in self.manifest["logits"]["resize_to"]:
                class_logits = resize(class_logits, (height, width))
            yield resize(class_logits[:crop_height, :crop_width], size)

    def label_map(self, logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Logits (K, h, w) -> the class of every pixel of a frame of a size."""
        labels = np.zeros(size, dtype=np.uint8 if len(logits) <= 256 else np.int64)
        largest = np.full(size, -np.inf, dtype=np.float32)
        for index, class_logits in enumerate(self.resized(logits, size)):
            larger = class_logits > largest
            labels[larger] = index
            np.maximum(largest, class_logits, out=largest)
        return labels


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 -> ``size``, bilinear."""
    if values.shape == tuple(size):
        return values
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of a folder's stream.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged. The message names the file and the key.
    """
    file = folder / "stream.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: there is no such file. --model is a folder that cffm export wrote"
        )
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{file}: {size} bytes; a stream.json has {MOST_BYTES} at most")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON: {error}. {_EXPORT_AGAIN}") from error
    check_manifest(manifest, file)
    return manifest


_EXPORT_AGAIN = "Export the model again with cffm export"


def check_version(manifest: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: the format is another version's.
    """
    if manifest["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"stream.json has format version {manifest['format_version']}, this runner reads "
            f"{FORMAT_VERSION}: take the runner of the version that exported the model"
        )


class Entry:
    """A value of a JSON file, and where it stands, so that errors can say so."""

    def __init__(self, value: Any, file: Path, key: str = ""):
        self.value, self.file, self.key = value, file, key

    def error(self, expected: str) -> ValueError:
        found = repr(self.value)
        found = found if len(found) <= 80 else f"{found[:80]}..."
        key = self.key or "the whole"
        return ValueError(f"{self.file}: {key}: expected {expected}, got {found}. {_EXPORT_AGAIN}")

    def __getitem__(self, name: str) -> "Entry":
        """An entry that must be there."""
        key = f"{self.key}.{name}" if self.key else name
        if name not in self.entries():
            raise ValueError(f"{self.file}: there is no {key}. {_EXPORT_AGAIN}")
        return Entry(self.value[name], self.file, key)

    def entries(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return self.value

    def items(self, least: int = 0, most: int = MOST_FRAMES) -> list["Entry"]:
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            number = str(least) if least == most else f"{least} to {most}"
            raise self.error(f"a list of {number}")
        return [Entry(v, self.file, f"{self.key}[{i}]") for i, v in enumerate(self.value)]

    def text(self, *choices: str) -> str:
        if not isinstance(self.value, str) or (choices and self.value not in choices):
            raise self.error(" or ".join(choices) if choices else "a text")
        return self.value

    def integer(self, least: int, most: int) -> int:
        is_integer = isinstance(self.value, int) and not isinstance(self.value, bool)
        if not is_integer or not least <= self.value <= most:
            raise self.error(f"an integer from {least} to {most}")
        return self.value

    def size(self) -> tuple[int, int]:
        """A height and a width."""
        height, width = (side.integer(1, MOST_PIXELS) for side in self.items(2, 2))
        if height * width > MOST_PIXELS:
            raise self.error(f"a height and a width of {MOST_PIXELS} pixels at most")
        return height, width


def check_manifest(manifest: Any, file: Path) -> None:
    """
    Args:
        manifest: what stands in a stream.json.
        file: for the message.

    Raises:
        ValueError: it lacks a key, or a value is not what it should be.
    """
    root = Entry(manifest, file)
    root["format_version"].integer(0, 1 << 30)
    check_version(manifest)
    frame = root["frame"]
    Entry([frame["height"].value, frame["width"].value], file, "frame height and width").size()
    frame["image_format"].text("RGB", "BGR")
    frame["size_divisibility"].integer(1, MOST_PIXELS)
    if frame["fit_size"].value is not None:
        frame["fit_size"].size()
    _check_references(root["references"])
    *_, (height, width) = [size.size() for size in root["logits"]["resize_to"].items(1, 8)]
    crop = root["logits"]["crop_to"].size()
    if crop[0] > height or crop[1] > width:
        raise root["logits"]["crop_to"].error(f"no more than {height} and {width}")
    num_classes = root["num_classes"].integer(1, MOST_CLASSES)
    names = [name.text() for name in root["class_names"].items(0, MOST_CLASSES)]
    if len(names) not in (0, num_classes):
        raise root["class_names"].error(f"{num_classes} names or none")
    _check_graphs(root["graphs"], len(manifest["references"]["offsets"]))


def _check_references(references: Entry) -> None:
    offsets = [offset.integer(-MOST_FRAMES, -1) for offset in references["offsets"].items()]
    if offsets != sorted(set(offsets)):
        raise references["offsets"].error("negative integers, increasing")
    until = -min(offsets, default=0)
    for target, target_references in enumerate(references["first_frames"].items(until, until)):
        for reference in target_references.items(0, len(offsets)):
            reference.integer(0, target - 1)
        if len(target_references.value) not in (0, len(offsets)):
            raise target_references.error(f"{len(offsets)} references or none")


def _check_graphs(graphs: Entry, num_references: int) -> None:
    second = ["classify", "refine"] if num_references else ["classify"]
    if not num_references and "step" in graphs.entries():
        second = ["classify", "step"]
    needed = ["encode", *second]
    if graphs.entries().keys() != set(needed):
        raise graphs.error(f"the graphs {', '.join(needed)}")
    outputs = {}
    for name in needed:
        for format in graphs[name]["files"].entries():
            graphs[name]["files"][format].text()
        given = [output["name"].text() for output in graphs[name]["outputs"].items()]
        outputs[name] = set(given)
    for name in second:
        if "logits" not in outputs[name]:
            raise graphs[name]["outputs"].error("logits among them")
        if ("labels" in outputs[name]) != ("labels" in outputs["classify"]):
            raise graphs[name]["outputs"].error("labels, as those of classify or as they without")
        state_values = 0
        for item in graphs[name]["inputs"].items():
            input_name = item["name"].text()
            if "reference" in item.entries():
                item["reference"].integer(0, num_references - 1)
            if "state" in item.entries() and name == "step":
                state_values += _check_state(item, outputs["step"])
                if state_values > MOST_VALUES:
                    raise item["shape"].error(f"states of {MOST_VALUES} values in all at most")
            elif "from" in item.entries():
                item["from"].text("encode")
                item["name"].text(*sorted(outputs["encode"]))
            elif input_name != "prototypes" or name == "classify":
                raise item.error("an input that comes from encode, a state, or prototypes")
    inputs = [item["name"].text() for item in graphs["encode"]["inputs"].items()]
    if inputs != ["frame"]:
        raise graphs["encode"]["inputs"].error("one, frame")


def _check_state(item: Entry, outputs: set[str]) -> int:
    """Returns how many values the state has."""
    item["from"].text("step")
    item["state"].text(*sorted(outputs))
    item["dtype"].text("float32")
    size = 1
    for side in item["shape"].items(0, 16):
        size *= side.integer(1, MOST_VALUES)
    return size


def graph_file(folder: Path, manifest: Mapping[str, Any], graph: str, format: str) -> Path:
    """A file of a folder that stream.json names.

    Raises:
        ValueError: the graph was not exported in this format, or its name leads out of the folder.
        FileNotFoundError: it is not there.
    """
    name = manifest["graphs"][graph]["files"].get(format)
    if name is None:
        raise ValueError(f"{folder} was exported without --format {format}")
    file = folder / name
    is_name = name not in ("", ".", "..") and not set(name) & set("/\\:\0")
    if not is_name or file.resolve().parent != folder.resolve():
        raise ValueError(
            f"{folder / 'stream.json'}: graphs.{graph}.files.{format}: {name!r} is no file of this "
            "folder itself. Nothing outside is read: name a file in it, and copy what links lead to"
        )
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file. {_EXPORT_AGAIN}")
    return file


def load_graphs(
    folder: Path,
    manifest: Mapping[str, Any],
    provider: str = "CPUExecutionProvider",
    runtime: str = "onnxruntime",
    float32: bool = False,
) -> dict[str, Graph]:
    """The ONNX graphs of a folder, for ``Stream``.

    Where OpenVINO computes in another precision than float32, as it does by itself on CPUs that
    have bfloat16, a warning is logged.

    Args:
        folder: that was exported.
        manifest: of ``read_manifest``.
        provider: of onnxruntime.
        runtime: "onnxruntime" or "openvino".
        float32: hold OpenVINO to it.

    Raises:
        ValueError: a graph is damaged, is not what stream.json says, or leads out of the folder:
            by its name, by a link or by the data that it refers to.
        FileNotFoundError: a graph is not there.
    """
    graphs: dict[str, Graph] = {}
    for name, described in manifest["graphs"].items():
        file = graph_file(folder, manifest, name, "onnx")
        if runtime == "openvino":
            graphs[name] = OpenVINOGraph(file, described, float32)
        else:
            graphs[name] = _load_graph(file, described, provider)
    if precision_of(graphs) != "float32":
        logger.warning(
            "OpenVINO computes in %s on this CPU: labels differ a little from float32's. "
            "--float32 (float32=True) holds it to float32",
            precision_of(graphs),
        )
    return graphs


def precision_of(graphs: Mapping[str, Graph]) -> str:
    """What graphs of ``load_graphs`` compute in, such as "float32"."""
    found = {getattr(graph, "precision", "float32") for graph in graphs.values()}
    return " and ".join(sorted(found))


def _check_names(
    file: Path, described: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    for what, found in (("inputs", inputs), ("outputs", outputs)):
        expected = {item["name"] for item in described[what]}
        if expected != set(found):
            raise ValueError(
                f"{file}: stream.json says that its {what} are {', '.join(sorted(expected))}, but "
                f"they are {', '.join(sorted(found))}. {_EXPORT_AGAIN}"
            )


class OpenVINOGraph:
    """A graph that OpenVINO runs, called as any ``Graph``.

    Args:
        file: the ONNX file.
        described: the graph in stream.json.
        float32: compute in it, and not in what OpenVINO takes by itself on this CPU.

    Attributes:
        precision: what OpenVINO says that it computes in: "float32", "bfloat16" or "float16".

    Raises:
        ValueError: it can't be loaded.
    """

    def __init__(self, file: Path, described: Mapping[str, Any], float32: bool = False):
        self.file = file
        content = file.read_bytes()
        if b"\x0a\x08location" in content:  # the entry of a tensor whose values are in another file
            raise ValueError(f"{file}: openvino can't load it: its data are in another file")
        self._model = self._compile(content, float32)
        hint = self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(hint, hint)
        inputs, outputs = (
            [value.get_any_name() for value in values]
            for values in (self._model.inputs, self._model.outputs)
        )
        _check_names(file, described, inputs, outputs)

    def __call__(
        self, inputs: dict[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        try:
            results = self._model(inputs)
        except Exception as error:  # openvino's own kinds
            raise ValueError(f"{self.file}: openvino can't run it: {error}") from error
        return {name: results[name].copy() for name in outputs}

    def _compile(self, content: bytes, float32: bool) -> Any:
        try:
            import openvino
        except ModuleNotFoundError:
            message = "--runtime openvino needs the package openvino: pip install it"
            raise ValueError(message) from None
        core = openvino.Core()
        options = {"INFERENCE_PRECISION_HINT": "f32"} if float32 else {}
        try:
            return core.compile_model(core.read_model(content, b""), "CPU", options)
        except Exception as error:  # openvino's own kinds
            if float32:
                raise ValueError(f"{self.file}: openvino can't load it: {error}") from error
            # It chooses bfloat16 by what the CPU has, also where ONEDNN_MAX_CPU_ISA, which its
            # kernels obey, leaves none for it. A file that is at fault fails once more.
            return self._compile(content, float32=True)


def _load_graph(file: Path, described: Mapping[str, Any], provider: str) -> Graph:
    import onnxruntime  # here: stream.json and torch.export's graphs are read without it

    try:
        session = onnxruntime.InferenceSession(str(file), providers=[provider])
    except Exception as error:  # onnxruntime's own kinds; it also refuses data outside the folder
        raise ValueError(f"{file}: onnxruntime can't load it: {error}") from error
    _check_names(
        file,
        described,
        [value.name for value in session.get_inputs()],
        [value.name for value in session.get_outputs()],
    )

    def run(inputs: dict[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(outputs, session.run(list(outputs), inputs)))
        except Exception as error:  # onnxruntime's own kinds
            raise ValueError(f"{file}: onnxruntime can't run it: {error}") from error

    return run


def read_prototypes(file: Path) -> np.ndarray:
    """The prototypes of a video, (P, dim) float32.

    Raises:
        ValueError: the file holds something else, or values that are not finite.
    """
    try:
        prototypes = np.load(file)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file}: expected prototypes, a .npy (P, dim): {error}") from error
    is_table = isinstance(prototypes, np.ndarray) and prototypes.ndim == 2
    if not is_table or prototypes.dtype.kind != "f" or not np.isfinite(prototypes).all():
        raise ValueError(f"{file}: expected prototypes, a .npy (P, dim) of finite numbers")
    return prototypes.astype(np.float32)


def write_png(file: Path, values: np.ndarray) -> None:
    """Write a PNG whole or not at all."""
    encoded = cv2.imencode(".png", values)[1]
    partial = file.with_name(f".{file.stem}.{os.getpid()}.partial.png")
    try:
        partial.write_bytes(encoded.data)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def read_frames(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The frames of a video file, or the images of a folder in natural order of their names.

    Gives name and frame, blue-green-red.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such video or folder")
    if path.is_dir():
        for file in sorted(path.iterdir(), key=natural_order):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                frame = cv2.imread(str(file))
                if frame is None:
                    raise ValueError(f"{file}: the image can't be read")
                yield file.stem, frame
        return
    video = cv2.VideoCapture(str(path))
    index = 0
    while (read := video.read())[0]:
        yield f"{index:06d}", read[1]
        index += 1


def natural_order(file: Path) -> list[str | int]:
    """A key that puts frame2 before frame10."""
    parts = re.split(r"(\d+)", file.name)  # every second one is a number
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the exported folder")
    parser.add_argument("--input", type=Path, required=True, help="video, or folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder of PNGs to write")
    parser.add_argument(
        "--prototypes", type=Path, metavar="FILE", help="CFFM++: those of the video, (P, dim) .npy"
    )
    parser.add_argument(
        "--provider", default="CPUExecutionProvider", help="of onnxruntime (%(default)s)"
    )
    parser.add_argument(
        "--runtime",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="openvino computes in bfloat16 where the CPU has it, and says so (%(default)s)",
    )
    parser.add_argument("--float32", action="store_true", help="hold openvino to float32")
    args = parser.parse_args()
    try:
        manifest = read_manifest(args.model)
        graphs = load_graphs(args.model, manifest, args.provider, args.runtime, args.float32)
        stream = Stream(manifest, graphs)
        prototypes = None if args.prototypes is None else read_prototypes(args.prototypes)
        args.output.mkdir(parents=True, exist_ok=True)
        seconds = []
        for name, frame in read_frames(args.input):
            start = time.perf_counter()
            labels = stream.step(frame, prototypes)
            seconds.append(time.perf_counter() - start)
            png = labels if labels.dtype == np.uint8 else labels.astype(np.uint16)
            write_png(args.output / f"{name}.png", png)
        if not seconds:
            raise ValueError(f"{args.input}: no frame could be read")
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    print(
        f"{len(seconds)} frames in {precision_of(graphs)}, {1000 * np.median(seconds):.0f} ms each "
        f"(median); masks of class indices in {args.output}"
    )


if __name__ == "__main__":
    main()
