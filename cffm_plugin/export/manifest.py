"""What a runner must know besides the graphs: written as JSON beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode
from torch import Tensor

from ..core.clips import check_offsets
from ..data import inference_clip
from ..inference import known_classes
from ..modeling import CoarseLogits
from .graphs import StreamGraph

MANIFEST_FILE = "stream.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class StreamSpec:
    """What a model does not know of the streams that it is for.

    Attributes:
        frame_offsets: references relative to the target, oldest first; of no matter for a
            recurrent module.
        image_format: channel order that the model takes, "RGB" or "BGR".
        fit_size: (long side, short side) that frames are scaled to fit in; None: they are not.
        size_divisibility: frames are then resized to the next multiple.
        class_names: K names; () where they are not known.

    Raises:
        ValueError: offsets that are not negative and increasing, or another image format.
    """

    frame_offsets: tuple[int, ...] = ()
    image_format: str = "RGB"
    fit_size: tuple[int, int] | None = None
    size_divisibility: int = 1
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_offsets(self.frame_offsets)
        if self.image_format not in ("RGB", "BGR"):
            raise ValueError(f'image_format is "RGB" or "BGR", got "{self.image_format}"')

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "StreamSpec":
        """As a config says; class names are those of its checkpoint, or else of its dataset.

        Raises:
            FileNotFoundError: MODEL.WEIGHTS names no file.
        """
        return cls(
            frame_offsets=tuple(cfg.MODEL.TEMPORAL.FRAME_OFFSETS)
            if cfg.MODEL.TEMPORAL.ENABLED
            else (),
            image_format=cfg.INPUT.FORMAT,
            fit_size=tuple(cfg.INPUT.CLIP.FIT_SIZE),
            size_divisibility=max(1, cfg.INPUT.CLIP.TEST_SIZE_DIVISIBILITY),
            class_names=tuple(name for name, _ in known_classes(cfg)),
        )


def make_manifest(
    spec: StreamSpec,
    graphs: Mapping[str, StreamGraph],
    logits: CoarseLogits,
    files: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The content of stream.json; docs/export.md explains every entry.

    Args:
        spec: of the stream.
        graphs, logits: of ``stream_graphs``.
        files: graph -> format -> file name.
    """
    height, width = logits.image_size
    offsets = spec.frame_offsets if "refine" in graphs else ()
    return {
        "format_version": FORMAT_VERSION,
        "frame": {
            "height": height,
            "width": width,
            "image_format": spec.image_format,
            "fit_size": spec.fit_size,
            "size_divisibility": spec.size_divisibility,
        },
        "references": {
            "offsets": offsets,
            "first_frames": _references_of_first_frames(offsets),
        },
        "logits": {
            "resize_to": [logits.embedding_size, logits.upsampled_size],
            "crop_to": logits.image_size,
        },
        "num_classes": len(logits.values),
        "class_names": spec.class_names,
        "graphs": {
            name: {
                "files": dict(files[name]),
                "inputs": [_input(input_name, name, graph) for input_name in graph.inputs],
                "outputs": [_tensor(*output) for output in graph.outputs.items()],
            }
            for name, graph in graphs.items()
        },
    }


def _references_of_first_frames(offsets: Sequence[int]) -> list[list[int]]:
    """Of every frame that the offsets do not hold for yet, its references, oldest first."""
    until = -min(offsets, default=0)
    return [inference_clip(target, offsets)[:-1] for target in range(until)]


def _input(name: str, graph: str, of: StreamGraph) -> dict[str, Any]:
    """An input, and which output it takes: of which graph and which frame."""
    shape = [of.dynamic.get(name, {}).get(i, n) for i, n in enumerate(of.inputs[name].shape)]
    described = _tensor(name, of.inputs[name]) | {"shape": shape}
    if name in of.references:
        return described | {"from": "encode", "reference": of.references[name]}
    if name in of.states:
        return described | {"from": graph, "state": of.states[name]}
    if graph != "encode" and name != "prototypes":
        return described | {"from": "encode"}
    return described


def _tensor(name: str, value: Tensor) -> dict[str, Any]:
    dtype = str(value.dtype).removeprefix("torch.")
    return {"name": name, "shape": list(value.shape), "dtype": dtype}
