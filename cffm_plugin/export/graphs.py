"""The graphs that a stream is made of, for frames of one size.

    encode    a frame -> its embedding; its cells, and the tokens that later frames look at
    classify  the embedding of a frame without a past -> the image segmentor's logits
    refine    the cells of a frame, the tokens of its references -> CFFM's logits

A frame goes through ``encode`` and one of the other two. All tensors are float32 and have names,
which are the same in every format; an input of ``refine`` has the name of the output of ``encode``
that it takes.
"""

import copy
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from detectron2.structures import ImageList
from torch import Tensor, nn

from ..core import FrameTokens
from ..modeling import CFFMSegmentor, CoarseLogits, as_pixel_embedding

EXAMPLE_PROTOTYPES = 100


@dataclass(frozen=True)
class StreamGraph:
    """A graph with an example of what goes in and what comes out, by name.

    Attributes:
        module: takes ``inputs`` as keyword arguments and returns ``outputs``.
        inputs, outputs: in the order that they have in the exported files.
        dynamic: input -> the dimensions whose size is not fixed, and their names.
        references: input -> which reference it is of, 0 the oldest; the others are of the target.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LogitsGeometry:
    """How logits become those of the frame: two resizes (bilinear), and a crop.

    Attributes:
        embedding_size: rows and columns that they are resized to first.
        stride: what they are upsampled by next.
        frame_size: height and width that are cropped from that.
    """

    embedding_size: tuple[int, int]
    stride: int
    frame_size: tuple[int, int]

    @property
    def upsampled_size(self) -> tuple[int, int]:
        height, width = self.embedding_size
        return height * self.stride, width * self.stride

    def labels(self, logits: Tensor) -> Tensor:
        """(1, K, h, w) -> the class of every pixel of the frame, (height, width)."""
        coarse = CoarseLogits(
            logits[0], self.embedding_size, self.stride, self.frame_size, self.frame_size
        )
        labels = coarse.full_resolution().argmax(dim=0)
        return labels.to(torch.uint8) if logits.shape[1] <= 256 else labels


def token_name(block: int, slot: int) -> str:
    """The tokens that a frame has for a temporal block as reference number ``slot``, 0 the oldest.

    An output of ``encode``, and the input of ``refine`` that it is for.
    """
    return f"tokens_block{block}_slot{slot}"


class Encode(nn.Module):
    """A frame, up to what this and later frames need of it.

    Args:
        model: whose parts are used.
        size: height and width of frames.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: CFFMSegmentor, size: tuple[int, int]):
        super().__init__()
        self.backbone = model.backbone
        self.sem_seg_head = model.sem_seg_head
        self.temporal = model.temporal
        self.register_buffer("pixel_mean", model.pixel_mean)
        self.register_buffer("pixel_std", model.pixel_std)
        height, width = size
        padded = ImageList.from_tensors(
            [torch.zeros(len(model.pixel_mean), height, width)],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        ).tensor
        self.padding = (0, padded.shape[3] - width, 0, padded.shape[2] - height)

    def forward(self, frame: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W), 0..255 -> ``embedding``; ``cells`` and tokens, with a temporal module."""
        image = F.pad((frame - self.pixel_mean) / self.pixel_std, self.padding)
        head = as_pixel_embedding(self.sem_seg_head)
        embedding = head.embed(self.backbone(image))
        outputs = {"embedding": embedding}
        if self.temporal is not None:
            cells = self.temporal.resample(embedding, head.embedding_stride)
            outputs["cells"] = cells
            for block, in_slots in enumerate(self.temporal.cffm.assemble(cells).keys_values):
                for slot, tokens in enumerate(in_slots):
                    assert tokens is not None
                    outputs[token_name(block, slot)] = tokens
        return outputs


class Classify(nn.Module):
    """The image segmentor's logits.

    Args:
        model: whose head is used.
        geometry: to give ``labels`` too; None for logits alone.
    """

    def __init__(self, model: CFFMSegmentor, geometry: LogitsGeometry | None):
        super().__init__()
        self.sem_seg_head = model.sem_seg_head
        self.geometry = geometry

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        return _outputs(as_pixel_embedding(self.sem_seg_head).classify(embedding), self.geometry)


class Refine(nn.Module):
    """CFFM's logits, with a prototype branch those of CFFM++.

    Args:
        model: with a temporal module.
        geometry: to give ``labels`` too; None for logits alone.
    """

    def __init__(self, model: CFFMSegmentor, geometry: LogitsGeometry | None):
        super().__init__()
        self.temporal = model.temporal
        self.prototype_branch = model.prototype_branch
        self.prototype_logit_weight = model.prototype_logit_weight
        self.geometry = geometry

    def forward(
        self, cells: Tensor, prototypes: Tensor | None = None, **tokens: Tensor
    ) -> dict[str, Tensor]:
        """
        Args:
            cells: of the target, (1, dim, h, w).
            prototypes: with a prototype branch: of the video, (1, P, dim).
            tokens: under the names of ``token_name``, those of the reference in that slot.
        """
        assert self.temporal is not None
        cffm = self.temporal.cffm
        height, width = cells.shape[2:]
        references = [
            FrameTokens(
                height,
                width,
                tuple(
                    tuple(
                        tokens[token_name(block, slot)] if slot == of_slot else None
                        for slot in range(cffm.num_references)
                    )
                    for block in range(len(cffm.blocks))
                ),
            )
            for of_slot in range(cffm.num_references)
        ]
        logits = self.temporal.classify(cells, cffm.mine(cells, references))
        if self.prototype_branch is not None:
            assert prototypes is not None
            refined = self.prototype_branch.block(cells, prototypes)
            of_branch = self.prototype_branch.classifier(refined)
            logits = logits + self.prototype_logit_weight * of_branch
        return _outputs(logits, self.geometry)


def _outputs(logits: Tensor, geometry: LogitsGeometry | None) -> dict[str, Tensor]:
    outputs = {"logits": logits}
    if geometry is not None:
        outputs["labels"] = geometry.labels(logits)
    return outputs


def stream_graphs(
    model: CFFMSegmentor, size: tuple[int, int], *, full_resolution: bool = False
) -> tuple[dict[str, StreamGraph], LogitsGeometry]:
    """The graphs of a model for frames of a size, by name, and what their logits stand for.

    The model stays as it is: the graphs hold a copy, on the CPU, in float32, in evaluation mode.

    Args:
        model: with or without a temporal module; without, there is no ``refine``.
        size: height and width of frames.
        full_resolution: ``classify`` and ``refine`` also give ``labels``, (height, width) uint8
            (int64 for more than 256 classes).

    Raises:
        TypeError: the model's head does not offer an embedding.
    """
    model = _copy_for_export(model)
    # Running every graph once also fills the caches of tables that depend on the size alone, so
    # that an exported graph holds them as constants and does not compute them.
    encode = _run_once(Encode(model, size), {"frame": torch.zeros(1, 3, *size)})
    head = as_pixel_embedding(model.sem_seg_head)
    rows, columns = encode.outputs["embedding"].shape[2:]
    geometry = LogitsGeometry((rows, columns), head.embedding_stride, size)
    for_labels = geometry if full_resolution else None
    graphs = {
        "encode": encode,
        "classify": _run_once(
            Classify(model, for_labels), {"embedding": encode.outputs["embedding"]}
        ),
    }
    if model.temporal is not None and model.temporal.cffm.num_references:
        graphs["refine"] = _refine_graph(model, encode, for_labels)
    return graphs, geometry


def _copy_for_export(model: CFFMSegmentor) -> CFFMSegmentor:
    model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for module in model.modules():
        for switch in ("activation_checkpointing", "grad_checkpointing"):  # ours, timm's
            if getattr(module, switch, False):
                setattr(module, switch, False)
    return model


def _refine_graph(
    model: CFFMSegmentor, encode: StreamGraph, geometry: LogitsGeometry | None
) -> StreamGraph:
    assert model.temporal is not None
    cffm = model.temporal.cffm
    references = {
        token_name(block, slot): slot
        for block in range(len(cffm.blocks))
        for slot in range(cffm.num_references)
    }
    inputs = {name: encode.outputs[name] for name in ("cells", *references)}
    dynamic = {}
    if model.prototype_branch is not None:
        inputs["prototypes"] = torch.zeros(1, EXAMPLE_PROTOTYPES, cffm.dim)
        dynamic["prototypes"] = {1: "num_prototypes"}
    graph = _run_once(Refine(model, geometry), inputs)
    return replace(graph, dynamic=dynamic, references=references)


@torch.no_grad()
def _run_once(module: nn.Module, inputs: dict[str, Tensor]) -> StreamGraph:
    module.eval()
    return StreamGraph(module, inputs, module(**inputs))
