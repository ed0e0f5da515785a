"""The graphs that a stream is made of, for frames of one size.

    encode    a frame -> what its logits are made of, and the tokens that later frames look at
    classify  what a frame without a past was encoded to -> the image segmentor's logits
    refine    what a frame was encoded to, the tokens of its references -> the video logits
    step      what a frame was encoded to, the state before it -> the video logits, and the state
              after it

A frame goes through ``encode`` and one of the others: with a windowed module ``classify`` or
``refine``, with a recurrent one ``step``, whose state before a video is zeros. All tensors are
float32 and have names, which are the same in every format; an input of the others has the name of
the output of ``encode`` that it takes. Each graph is a few of the stages of ``CFFMSegmentor``.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.nested import map_tensors, tensors_in
from ..modeling import (
    CFFMSegmentor,
    CoarseLogits,
    EncodedFrames,
    LogitsPrediction,
    Prediction,
    RecurrentModule,
    Refined,
    WindowedModule,
)

EXAMPLE_PROTOTYPES = 100


@dataclass(frozen=True)
class StreamGraph:
    """A graph with an example of what goes in and what comes out, by name.

    Attributes:
        module: takes ``inputs`` as keyword arguments and returns ``outputs``.
        inputs, outputs: in the order that they have in the exported files.
        dynamic: input -> the dimensions whose size is not fixed, and their names.
        references: input -> which reference it is of, 0 the oldest; the others are of the target.
        states: input -> the output that it takes of the frame before; zeros at a video's start.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)


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
        module = _module_of(self.model)
        if isinstance(module, WindowedModule) and module.num_references:
            tokens = module.assemble(encoded.features)
            for slot in range(module.num_references):
                outputs |= token_tensors(tokens.only((slot,)), slot)
        return {n: x for n, x in outputs.items() if self.wanted is None or n in self.wanted}


class Predict(nn.Module):
    """What was encoded -> logits; here the image segmentor's.

    Args:
        model: whose stages are used.
        encoded: an example of a frame.
        full_resolution: to give ``labels`` too.
    """

    def __init__(self, model: CFFMSegmentor, encoded: EncodedFrames, full_resolution: bool):
        super().__init__()
        self.model = model
        self.encoded = encoded
        self.full_resolution = full_resolution

    def prediction(
        self, encoded: EncodedFrames, inputs: Mapping[str, Tensor]
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Of a frame, and what else comes out."""
        return self.model.classify(encoded), {}

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """
        Args:
            inputs: under the names of ``encoded_tensors``, and what ``prediction`` takes besides.
                Those that nothing is made of may be left out.
        """
        encoded = with_tensors(self.encoded, inputs, encoded_tensors(self.encoded))
        prediction, further = self.prediction(encoded, inputs)
        outputs = {"logits": prediction.logits()}
        if self.full_resolution:
            (coarse,) = self.model.coarse(prediction, encoded, [encoded.image_size])
            labels = coarse.full_resolution().argmax(dim=0)
            outputs["labels"] = labels.to(torch.uint8) if self.model.num_classes <= 256 else labels
        return outputs | further

    def output(
        self, encoded: EncodedFrames, refined: Tensor | Refined, inputs: Mapping[str, Tensor]
    ) -> Prediction:
        """Of the video; with a prototype branch inputs are also ``prototypes``, (1, P, dim)."""
        items = [{"prototypes": p} for p in inputs.get("prototypes", ())]
        return self.model.output(encoded, refined, items)


class Refine(Predict):
    """Of a windowed module.

    Args:
        tokens: an example of the tokens of every reference, oldest first.
        arguments: of ``Predict``.
    """

    def __init__(self, tokens: list[Any], *arguments: Any):
        super().__init__(*arguments)
        self.tokens = tokens

    def prediction(
        self, encoded: EncodedFrames, inputs: Mapping[str, Tensor]
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Further inputs: under the names of ``token_tensors``, of the reference in that slot."""
        references = [
            with_tensors(tokens, inputs, token_tensors(tokens, slot))
            for slot, tokens in enumerate(self.tokens)
        ]
        refined = _module_of(self.model).mine(encoded.features, references)
        return self.output(encoded, refined, inputs), {}


class Step(Predict):
    """Of a recurrent module.

    Args:
        state: an example.
        arguments: of ``Predict``.
    """

    def __init__(self, state: Any, *arguments: Any):
        super().__init__(*arguments)
        self.state = state

    def prediction(
        self, encoded: EncodedFrames, inputs: Mapping[str, Tensor]
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """Further inputs: under the names of ``state_tensors``; outputs: the same, ``next_``."""
        state = with_tensors(self.state, inputs, state_tensors(self.state))
        refined, after = _module_of(self.model).step(encoded.features, state)
        named = {f"next_{name}": tensor for name, tensor in state_tensors(after).items()}
        return self.output(encoded, refined, inputs), named


def encoded_tensors(encoded: EncodedFrames) -> dict[str, Tensor]:
    """The tensors of a frame by name."""
    named = {"embedding": encoded.embedding}
    named |= {f"context_{i}": tensor for i, tensor in enumerate(tensors_in(encoded.context))}
    named |= {"cells": encoded.cells}
    named |= {f"level_{i}": level for i, level in enumerate(encoded.features.levels)}
    image = encoded.features.image
    return named if image is None else named | {"image": image}


def token_tensors(tokens: Any, slot: int) -> dict[str, Tensor]:
    """The tensors of a frame's tokens for a slot, 0 the oldest, by name."""
    return {f"tokens_slot{slot}_{i}": tensor for i, tensor in enumerate(tensors_in(tokens))}


def state_tensors(state: Any) -> dict[str, Tensor]:
    """The tensors of a recurrent module's state by name."""
    return {f"state_{i}": tensor for i, tensor in enumerate(tensors_in(state))}


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
        model: with or without a temporal module, which decides whether there is a ``refine``, a
            ``step``, or neither.
        size: height and width of frames.
        full_resolution: all but ``encode`` also give ``labels``, (height, width) uint8 (int64 for
            more than 256 classes).

    Raises:
        ValueError: the model is of mask classification, whose outputs are no resized logits; or a
            recurrent module's state is not float32, or does not begin as zeros.
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
    classify = Predict(model, encoded, full_resolution)
    graphs = {"classify": _run_once(classify, _used(classify, frame_tensors))}
    logits = LogitsPrediction(graphs["classify"].outputs["logits"])
    (coarse,) = logits.coarse(encoded, model.head.stride, [size], model.head.upsampling)
    temporal = _module_of(model)
    if isinstance(temporal, RecurrentModule):
        graphs["step"] = _step_graph(temporal, model, encoded, full_resolution)
    elif model.clip_length != 1:
        graphs["refine"] = _refine_graph(temporal, model, encoded, full_resolution)
    module.wanted = {name for graph in graphs.values() for name in graph.inputs}
    return {"encode": _run_once(module, encode.inputs), **graphs}, coarse


def _module_of(model: CFFMSegmentor) -> Any:
    """The temporal module; None of an image segmentor."""
    return None if model.temporal is None else model.temporal.module


def _copy_for_export(model: CFFMSegmentor) -> CFFMSegmentor:
    model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for module in model.modules():
        for switch in ("activation_checkpointing", "grad_checkpointing"):  # ours, timm's
            if getattr(module, switch, False):
                setattr(module, switch, False)
    return model


def _refine_graph(
    module: WindowedModule, model: CFFMSegmentor, encoded: EncodedFrames, full_resolution: bool
) -> StreamGraph:
    with torch.no_grad():
        tokens = module.assemble(encoded.features)
    in_slots = [tokens.only((slot,)) for slot in range(module.num_references)]
    inputs, references = encoded_tensors(encoded), dict[str, int]()
    for slot, in_slot in enumerate(in_slots):
        named = token_tensors(in_slot, slot)
        inputs |= named
        references |= dict.fromkeys(named, slot)
    refine = Refine(in_slots, model, encoded, full_resolution)
    return replace(_with_prototypes(refine, inputs), references=references)


def _step_graph(
    module: RecurrentModule, model: CFFMSegmentor, encoded: EncodedFrames, full_resolution: bool
) -> StreamGraph:
    with torch.no_grad():
        _, state = module.step(encoded.features, None)
    _check_start(module, encoded, state)
    step = Step(state, model, encoded, full_resolution)
    graph = _with_prototypes(step, encoded_tensors(encoded) | state_tensors(state))
    states = {name: f"next_{name}" for name in state_tensors(state) if name in graph.inputs}
    return replace(graph, states=states)


@torch.no_grad()
def _check_start(module: RecurrentModule, encoded: EncodedFrames, state: Any) -> None:
    """
    Raises:
        ValueError: a state is not float32, or a video's start is not what a state of zeros is.
    """
    name = type(module).__name__
    if kinds := sorted({str(x.dtype) for x in tensors_in(state)} - {"torch.float32"}):
        raise ValueError(f"{name}: its state is {', '.join(kinds)}; graphs take float32")
    generator = torch.Generator().manual_seed(0)
    frame = map_tensors(
        encoded.features, lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype)
    )
    ours = module.step(frame, map_tensors(state, torch.zeros_like))
    own = module.step(frame, None)
    for zeros, none in zip(tensors_in(ours), tensors_in(own), strict=True):
        if not torch.allclose(zeros, none, rtol=1e-4, atol=1e-4):
            raise ValueError(
                f"{name}: a state of zeros is not a video's start (None), which an exported stream "
                "begins with; let its step take None for zeros"
            )


def _with_prototypes(module: Predict, inputs: dict[str, Tensor]) -> StreamGraph:
    """The graph with what it needs of the inputs, and with CFFM++'s prototypes."""
    dynamic = {}
    if module.model.prototype_branch is not None:
        dim = module.encoded.cells.shape[1]
        inputs = inputs | {"prototypes": torch.zeros(1, EXAMPLE_PROTOTYPES, dim)}
        dynamic["prototypes"] = {1: "num_prototypes"}
    return replace(_run_once(module, _used(module, inputs)), dynamic=dynamic)


def _used(module: Predict, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs that something is made of: those that it has a gradient for."""
    with torch.enable_grad():
        tracked = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
        made = [output for output in module(**tracked).values() if output.requires_grad]
        total = torch.stack([output.sum() for output in made]).sum()
        gradients = torch.autograd.grad(total, list(tracked.values()), allow_unused=True)
    return {n: x for (n, x), gradient in zip(inputs.items(), gradients) if gradient is not None}


@torch.no_grad()
def _run_once(module: nn.Module, inputs: dict[str, Tensor]) -> StreamGraph:
    module.eval()
    # Each its own tensor: two that are one would be taken for one input.
    inputs = {name: tensor.clone() for name, tensor in inputs.items()}
    return StreamGraph(module, inputs, module(**inputs))
