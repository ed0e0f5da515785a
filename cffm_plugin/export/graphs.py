"""The graphs that a stream is made of, for frames of one size.

    encode    a frame -> what its logits are made of, and the tokens that later frames look at
    classify  what a frame without a past was encoded to -> the image segmentor's logits
    refine    what a frame was encoded to, the tokens of its references -> the video logits

A frame goes through ``encode`` and one of the other two. All tensors are float32 and have names,
which are the same in every format; an input of ``classify`` and ``refine`` has the name of the
output of ``encode`` that it takes. Each graph is a few of the stages of ``CFFMSegmentor``.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.nested import map_tensors, tensors_in
from ..modeling import CFFMSegmentor, CoarseLogits, EncodedFrames, LogitsPrediction

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


class Encode(nn.Module):
    """A frame, up to what this and later frames need of it.

    Args:
        model: whose stages are used.
        size: height and width of frames.
    """

    def __init__(self, model: CFFMSegmentor, size: tuple[int, int]):
        super().__init__()
        self.model = model
        self.size = size
        self.wanted: set[str] | None = None  # names of the outputs; None for all
        height, width = size
        blank = torch.zeros(len(model.pixel_mean), height, width)
        padded, _ = model.normalise_and_pad([blank])
        self.padding = (0, padded.shape[3] - width, 0, padded.shape[2] - height)

    def encode(self, frame: Tensor) -> EncodedFrames:
        """(1, 3, H, W), 0..255."""
        image = (frame - self.model.pixel_mean) / self.model.pixel_std
        return self.model.encode_padded(F.pad(image, self.padding), self.size)

    def forward(self, frame: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W), 0..255 -> the tensors of ``EncodedFrames``, and tokens for every slot."""
        encoded = self.encode(frame)
        outputs = encoded_tensors(encoded)
        if self.model.num_references:
            tokens = self.model.assemble(encoded)
            for slot in range(self.model.num_references):
                outputs |= token_tensors(tokens.only((slot,)), slot)
        return {n: x for n, x in outputs.items() if self.wanted is None or n in self.wanted}


class Predict(nn.Module):
    """What was encoded -> logits.

    Args:
        model: whose stages are used.
        encoded: an example of a frame.
        tokens: an example of the tokens of every reference, oldest first; none for the image
            segmentor's logits.
        full_resolution: to give ``labels`` too.
    """

    def __init__(
        self, model: CFFMSegmentor, encoded: EncodedFrames, tokens: list[Any], full_resolution: bool
    ):
        super().__init__()
        self.model = model
        self.encoded = encoded
        self.tokens = tokens
        self.full_resolution = full_resolution

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """
        Args:
            inputs: under the names of ``encoded_tensors`` and of ``token_tensors``, of the
                reference in that slot; with a prototype branch also ``prototypes``, (1, P, dim).
                Those that nothing is made of may be left out.
        """
        encoded = with_tensors(self.encoded, inputs, encoded_tensors(self.encoded))
        if self.tokens:
            references = [
                with_tensors(tokens, inputs, token_tensors(tokens, slot))
                for slot, tokens in enumerate(self.tokens)
            ]
            items = [{"prototypes": p} for p in inputs.get("prototypes", ())]
            refined = self.model.mine(encoded, references)
            prediction = self.model.output(encoded, refined, items)
        else:
            prediction = self.model.classify(encoded)
        outputs = {"logits": prediction.logits()}
        if self.full_resolution:
            (coarse,) = self.model.coarse(prediction, encoded, [encoded.image_size])
            labels = coarse.full_resolution().argmax(dim=0)
            outputs["labels"] = labels.to(torch.uint8) if self.model.num_classes <= 256 else labels
        return outputs


def encoded_tensors(encoded: EncodedFrames) -> dict[str, Tensor]:
    """The tensors of a frame by name."""
    named = {"embedding": encoded.embedding}
    named |= {f"context_{i}": tensor for i, tensor in enumerate(tensors_in(encoded.context))}
    return named | {"cells": encoded.cells}


def token_tensors(tokens: Any, slot: int) -> dict[str, Tensor]:
    """The tensors of a frame's tokens for a slot, 0 the oldest, by name."""
    return {f"tokens_slot{slot}_{i}": tensor for i, tensor in enumerate(tensors_in(tokens))}


def with_tensors(example: Any, given: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> Any:
    """An example with the given tensors in place of its own, in the order of the names."""
    replacing = iter([given.get(name, own) for name, own in names.items()])
    return map_tensors(example, lambda _: next(replacing))


def stream_graphs(
    model: CFFMSegmentor, size: tuple[int, int], *, full_resolution: bool = False
) -> tuple[dict[str, StreamGraph], CoarseLogits]:
    """The graphs of a model for frames of a size, by name, and an example of its logits.

    The model stays as it is: the graphs hold a copy, on the CPU, in float32, in evaluation mode.

    Args:
        model: with or without a temporal module; without, there is no ``refine``.
        size: height and width of frames.
        full_resolution: ``classify`` and ``refine`` also give ``labels``, (height, width) uint8
            (int64 for more than 256 classes).

    Raises:
        ValueError: the model is of mask classification, whose outputs are no resized logits.
    """
    if model.head.kind.is_map:
        raise ValueError(
            f"{type(model.sem_seg_head).__name__} is a head of mask classification: its masks are "
            "resized before their sigmoid, which the exported graphs and their runner do not do. "
            "Segmentors with logits can be exported; run this one by StreamingSegmentor."
        )
    model = _copy_for_export(model)
    module = Encode(model, size)
    # Running every graph once also fills the caches of tables that depend on the size alone, so
    # that an exported graph holds them as constants and does not compute them.
    encode = _run_once(module, {"frame": torch.zeros(1, len(model.pixel_mean), *size)})
    with torch.no_grad():
        encoded = module.encode(encode.inputs["frame"])
    frame_tensors = encoded_tensors(encoded)
    classify = Predict(model, encoded, [], full_resolution)
    graphs = {"classify": _run_once(classify, _used(classify, frame_tensors))}
    logits = LogitsPrediction(graphs["classify"].outputs["logits"])
    (coarse,) = logits.coarse(encoded, model.head.stride, [size], model.head.upsampling)
    if model.num_references:
        graphs["refine"] = _refine_graph(model, encoded, frame_tensors, full_resolution)
    module.wanted = {name for graph in graphs.values() for name in graph.inputs}
    return {"encode": _run_once(module, encode.inputs), **graphs}, coarse


def _copy_for_export(model: CFFMSegmentor) -> CFFMSegmentor:
    model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for module in model.modules():
        for switch in ("activation_checkpointing", "grad_checkpointing"):  # ours, timm's
            if getattr(module, switch, False):
                setattr(module, switch, False)
    return model


def _refine_graph(
    model: CFFMSegmentor,
    encoded: EncodedFrames,
    frame_tensors: dict[str, Tensor],
    full_resolution: bool,
) -> StreamGraph:
    with torch.no_grad():
        tokens = model.assemble(encoded)
    in_slots = [tokens.only((slot,)) for slot in range(model.num_references)]
    inputs, references, dynamic = dict(frame_tensors), dict[str, int](), {}
    for slot, in_slot in enumerate(in_slots):
        named = token_tensors(in_slot, slot)
        inputs |= named
        references |= dict.fromkeys(named, slot)
    if model.prototype_branch is not None:
        inputs["prototypes"] = torch.zeros(1, EXAMPLE_PROTOTYPES, encoded.cells.shape[1])
        dynamic["prototypes"] = {1: "num_prototypes"}
    refine = Predict(model, encoded, in_slots, full_resolution)
    graph = _run_once(refine, _used(refine, inputs))
    return replace(graph, dynamic=dynamic, references=references)


def _used(module: Predict, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs that the logits are made of: those that they have a gradient for."""
    with torch.enable_grad():
        tracked = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
        logits = module(**tracked)["logits"]
        gradients = torch.autograd.grad(logits.sum(), list(tracked.values()), allow_unused=True)
    return {n: x for (n, x), gradient in zip(inputs.items(), gradients) if gradient is not None}


@torch.no_grad()
def _run_once(module: nn.Module, inputs: dict[str, Tensor]) -> StreamGraph:
    module.eval()
    # Each its own tensor: two that are one would be taken for one input.
    inputs = {name: tensor.clone() for name, tensor in inputs.items()}
    return StreamGraph(module, inputs, module(**inputs))
