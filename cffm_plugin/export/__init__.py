"""Streams outside of this package: the graphs of a model by torch.export and as ONNX."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .graphs import stream_graphs
from .manifest import StreamSpec
from .parity import Agreement, compare, random_frames
from .writing import export_stream, load_programs

__all__ = [
    "Agreement",
    "StreamSpec",
    "compare",
    "export_stream",
    "load_programs",
    "random_frames",
    "stream_graphs",
]
