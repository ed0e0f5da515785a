"""Writing a model's graphs, and reading those of torch.export."""

import io
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ..constants import EXPORT_FORMATS
from ..files import whole_file, write_json
from ..modeling import CFFMSegmentor
from .graphs import StreamGraph, stream_graphs
from .manifest import MANIFEST_FILE, StreamSpec, make_manifest

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
LOWEST_OPSET = 18  # what torch writes; its results do not convert to lower ones

Program = Callable[[dict[str, np.ndarray], Iterable[str]], dict[str, np.ndarray]]

logger = logging.getLogger(__name__)


def export_stream(
    model: CFFMSegmentor,
    spec: StreamSpec,
    folder: str | os.PathLike,
    size: tuple[int, int],
    *,
    formats: Sequence[str] = EXPORT_FORMATS,
    opset: int = LOWEST_OPSET,
    full_resolution: bool = False,
) -> Path:
    """Write the graphs of a model, and stream.json, with which a runner needs nothing else.

    Args:
        model: with or without a temporal module.
        spec: how it is used.
        folder: where to; made if it is not there.
        size: height and width of frames as the graphs take them.
        formats: some of "onnx" (<graph>.onnx) and "torch_export" (<graph>.pt2).
        opset: of ONNX, 18 or higher.
        full_resolution: see ``stream_graphs``.

    Returns:
        the path of stream.json.

    Raises:
        ValueError: an unknown format, a size below 1 or an opset below 18; ``spec`` does not fit
            the model.
        OSError: a file can't be written.
    """
    unknown = set(formats) - set(EXPORT_FORMATS)
    if unknown or not formats:
        raise ValueError(f"formats are some of {', '.join(EXPORT_FORMATS)}; got {tuple(formats)}")
    if min(size) < 1:
        raise ValueError(f"size is the height and width of frames, got {size}")
    if opset < LOWEST_OPSET:
        raise ValueError(f"opset is {LOWEST_OPSET} or higher, got {opset}")
    _check_spec(spec, model)
    graphs, logits = stream_graphs(model, size, full_resolution=full_resolution)
    folder = Path(folder)
    files: dict[str, dict[str, str]] = {}
    for name, graph in graphs.items():
        program = export_graph(graph)
        files[name] = {format: name + SUFFIXES[format] for format in formats}
        for format, file in files[name].items():
            with whole_file(folder / file) as partial:
                if format == "onnx":
                    _write_onnx(program, graph, partial, opset)
                else:
                    # In memory first: where a file can't be written, torch ends the process.
                    buffer = io.BytesIO()
                    torch.export.save(program, buffer)
                    partial.write_bytes(buffer.getbuffer())
            logger.info("Wrote %s (%.1f MB)", folder / file, (folder / file).stat().st_size / 1e6)
    path = folder / MANIFEST_FILE
    write_json(path, make_manifest(spec, graphs, logits, files))
    return path


def export_graph(graph: StreamGraph) -> ExportedProgram:
    """A graph as torch.export gives it: inputs by name, outputs as a dict."""
    dims = {name: {i: Dim(d) for i, d in of.items()} for name, of in graph.dynamic.items()}
    # With gradients on, CFM attends from all windows at once. Without, it works on a few at a time
    # on a CPU, and the graph would hold each part.
    with torch.enable_grad():
        program = torch.export.export(
            graph.module,
            args=(),
            kwargs=graph.inputs,
            dynamic_shapes={name: dims.get(name) for name in graph.inputs} if dims else None,
        )
    program.example_inputs = None  # they would be saved too, and are larger than the weights
    return program


def load_programs(folder: str | os.PathLike) -> dict[str, Program]:
    """The graphs of a folder, of torch.export: graph -> ``run(inputs, output_names)``.

    Loading them can run code that they hold: take them from people that you trust alone. ONNX
    files hold none.

    Raises:
        ValueError: stream.json or a graph is damaged, or a graph's name leads out of the folder.
        FileNotFoundError: one is not there.
    """
    from .onnx_runner import graph_file, read_manifest  # needs OpenCV

    manifest = read_manifest(Path(folder))
    files = {
        name: graph_file(Path(folder), manifest, name, "torch_export")
        for name in manifest["graphs"]
    }
    return {name: _as_program(file) for name, file in files.items()}


def _as_program(file: Path) -> Program:
    try:
        module = torch.export.load(file).module()
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(f"{file}: torch.export can't load it: {error}") from error

    @torch.no_grad()
    def run(inputs: dict[str, np.ndarray], output_names: Iterable[str]) -> dict[str, np.ndarray]:
        outputs = module(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: outputs[name].numpy() for name in output_names}

    return run


def _write_onnx(program: ExportedProgram, graph: StreamGraph, file: Path, opset: int) -> None:
    torch.onnx.export(
        program,
        f=file,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        opset_version=opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _check_spec(spec: StreamSpec, model: CFFMSegmentor) -> None:
    if model.clip_length not in (None, len(spec.frame_offsets) + 1):
        raise ValueError(
            f"the model takes {model.clip_length - 1} reference frames, got frame_offsets "
            f"{spec.frame_offsets}"
        )
    num_classes = model.head.num_classes
    if spec.class_names and len(spec.class_names) != num_classes:
        raise ValueError(
            f"the model has {num_classes} classes, got {len(spec.class_names)} class_names"
        )
