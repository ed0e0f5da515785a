"""Segments a video by the ONNX graphs that tools/export_model.py wrote.

    python onnx_runner.py --model exported/ --input video.mp4 --output masks/

Needs onnxruntime, numpy and opencv, and imports nothing of the package that it lies in: copy this
file and the folder to where they are to run. Writes a PNG per frame with the class of every pixel.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

FORMAT_VERSION = 1
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Graph = Callable[[dict[str, np.ndarray], Sequence[str]], dict[str, np.ndarray]]


class Stream:
    """Segments the frames of one video as they come, by ``step``.

    Past frames are kept as the tokens that later frames need of them, and no longer.

    Args:
        manifest: the content of stream.json.
        graphs: by name, ``run(inputs, output_names)`` -> outputs by name.
    """

    def __init__(self, manifest: Mapping[str, Any], graphs: Mapping[str, Graph]):
        if manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"stream.json has format version {manifest['format_version']}, this runner reads "
                f"{FORMAT_VERSION}: take the runner of the version that exported the model"
            )
        self.manifest = manifest
        self.graphs = graphs
        self.size = (manifest["frame"]["height"], manifest["frame"]["width"])
        refine = manifest["graphs"].get("refine", {"inputs": []})
        self.needs_prototypes = any(item["name"] == "prototypes" for item in refine["inputs"])
        self.reference_of = {  # input of refine -> which reference it is of
            item["name"]: item["reference"] for item in refine["inputs"] if "reference" in item
        }
        outputs = manifest["graphs"]["classify"]["outputs"]
        self.has_labels = any(item["name"] == "labels" for item in outputs)
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of a video."""
        self.index = 0
        self.kept: dict[tuple[int, str], np.ndarray] = {}  # (past frame, name) -> tokens

    def step(self, frame: np.ndarray, prototypes: np.ndarray | None = None) -> np.ndarray:
        """Segment the next frame.

        Args:
            frame: (height, width, 3) uint8, blue-green-red, of any size.
            prototypes: of the video, (P, dim), where the model needs them.

        Returns:
            the class of every pixel, (height, width) uint8 (int64 for more than 256 classes).
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
        of_video = {}
        if self.needs_prototypes:
            if prototypes is None:
                raise ValueError("this model (CFFM++) needs the prototypes of the video, (P, dim)")
            of_video = {"prototypes": prototypes[None]}
        references = self.references(self.index)
        needed = self.needed_later(self.index + 1)
        tokens = [name for frame, name in needed if frame == self.index]
        graph = "refine" if references else "classify"
        wanted = self.manifest["graphs"][graph]["inputs"]
        of_frame = [i["name"] for i in wanted if "from" in i and "reference" not in i]
        encoded = self.graphs["encode"]({"frame": image[None]}, [*of_frame, *tokens])
        inputs = {name: encoded[name] for name in of_frame}
        if references:
            inputs |= of_video
            for name, reference in self.reference_of.items():
                inputs[name] = self.kept[references[reference], name]
        results = self.graphs[graph](inputs, outputs)
        self.kept.update({(self.index, name): encoded[name] for name in tokens})
        self.kept = {key: value for key, value in self.kept.items() if key in needed}
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
        if frame.ndim != 3 or frame.shape[2] != 3:
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
        for of_class in logits:
            for height, width in self.manifest["logits"]["resize_to"]:
                of_class = resize(of_class, (height, width))
            yield resize(of_class[:crop_height, :crop_width], size)

    def label_map(self, logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Logits (K, h, w) -> the class of every pixel of a frame of a size."""
        labels = np.zeros(size, dtype=np.uint8 if len(logits) <= 256 else np.int64)
        largest = np.full(size, -np.inf, dtype=np.float32)
        for index, of_class in enumerate(self.resized(logits, size)):
            larger = of_class > largest
            labels[larger] = index
            np.maximum(largest, of_class, out=largest)
        return labels


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float32 -> ``size``, bilinear."""
    if values.shape == tuple(size):
        return values
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of a folder's stream.json."""
    file = folder / "stream.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: there is no such file. --model is a folder that tools/export_model.py wrote"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def load_graphs(
    folder: Path, manifest: Mapping[str, Any], provider: str = "CPUExecutionProvider"
) -> dict[str, Graph]:
    """The ONNX graphs of a folder, for ``Stream``."""
    without = [name for name, graph in manifest["graphs"].items() if "onnx" not in graph["files"]]
    if without:
        raise ValueError(f"{folder} was exported without --format onnx")

    def load(file: str) -> Graph:
        session = onnxruntime.InferenceSession(str(folder / file), providers=[provider])
        return lambda inputs, outputs: dict(zip(outputs, session.run(list(outputs), inputs)))

    return {name: load(graph["files"]["onnx"]) for name, graph in manifest["graphs"].items()}


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
    args = parser.parse_args()
    try:
        manifest = read_manifest(args.model)
        stream = Stream(manifest, load_graphs(args.model, manifest, args.provider))
        file = args.prototypes
        prototypes = None if file is None else np.load(file).astype(np.float32)
        args.output.mkdir(parents=True, exist_ok=True)
        seconds = []
        for name, frame in read_frames(args.input):
            start = time.perf_counter()
            labels = stream.step(frame, prototypes)
            seconds.append(time.perf_counter() - start)
            png = labels if labels.dtype == np.uint8 else labels.astype(np.uint16)
            if not cv2.imwrite(str(args.output / f"{name}.png"), png):
                raise OSError(f"{args.output / name}.png can't be written")
        if not seconds:
            raise ValueError(f"{args.input}: no frame could be read")
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(
        f"{len(seconds)} frames, {1000 * np.median(seconds):.0f} ms each (median); "
        f"masks of class indices in {args.output}"
    )


if __name__ == "__main__":
    main()
