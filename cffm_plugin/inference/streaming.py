"""Frame in, label map out; past frames are kept as small tokens.

The paper reports its frame rate with the reference features at hand (CFFM, section 4.2). A stream
has them: what a frame gives to later ones depends on that frame alone, so every frame is encoded
once, and the result is that of the clip to the bit.
"""

import logging
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from torch import Tensor

from ..checkpoint import ModelInfo, SegmentorCheckpointer
from ..data import build_test_augmentations, inference_clip
from ..data.clips import DEFAULT_OFFSETS, check_offsets
from ..data.images import image_to_tensor
from ..modeling import (
    CFFMSegmentor,
    CoarseLogits,
    CoarseOutput,
    EncodedFrames,
    all_finite,
    build_segmentor,
    ensure_agreement,
)
from .finite import not_finite
from .first_frames import DEFAULT_AGREEMENT, FirstFrames
from .frames import Frame, check_frame, check_output_size, size_of_frame
from .half_precision import half_precision_copy
from .smoothing import check_smoothing, smooth

Output = Literal["labels", "probabilities", "logits"]
OUTPUTS = ("labels", "probabilities", "logits")
DEFAULT_MAX_STREAMS = 256

logger = logging.getLogger(__name__)


class _Input(NamedTuple):
    """The next frame of a stream: its image, (3, H, W), and what else goes into its prediction."""

    key: Hashable
    image: Tensor
    output_size: tuple[int, int]
    item: dict[str, Any]


@dataclass(frozen=True)
class _Stream:
    """One video under way, as it is between two frames.

    Attributes:
        size: height and width of its frames, as they are encoded.
        index: of the next frame.
        kept: past frame -> its tokens in the slots that later frames need, see ``Tokens``.
        average: with smoothing, class probabilities so far, (K, h, w) at the head's stride.
    """

    size: tuple[int, int]
    index: int = 0
    kept: dict[int, Any] = field(default_factory=dict)
    average: Tensor | None = None


class StreamingSegmentor:
    """Segments the frames of one or several videos as they come.

        segmentor = StreamingSegmentor(cfg)  # model and weights of the config, as DefaultPredictor
        for frame in video:
            labels = segmentor.step(frame)

    Frame t is segmented with the references that a clip would have (``inference_clip``): the first
    frames by the image segmentor, then with what past there is. Memory does not grow with the
    length of the video.

    Several videos at once are told apart by a key of the caller's; ``step_all`` takes a frame of
    each, and encodes those of one size together. A frame that ends in an error leaves all streams
    as they were before it, so that they can go on with their next.

    Several threads may share one: their calls wait for one another. Frames of one video must come
    from one thread at a time, or nobody knows their order.

    Args:
        model: a CFFMSegmentor, with or without a temporal module. It is put in evaluation mode.
        frame_offsets: references relative to the target, oldest first, one for each that the
            model takes.
        augmentations: applied to frames that come as arrays.
        image_format: channel order that the model takes, "RGB" or "BGR".
        autocast: a dtype to compute in, such as ``torch.bfloat16``: ``model`` is then a copy, see
            ``half_precision_copy``; None for the weights' own.
        float32_parts: with ``autocast``, which parts are left in float32.
        least_agreement: with ``autocast``, the share of labels that must be those of float32 on the
            first frame of each size, see ``FirstFrames``; 0: nothing is compared, and the model in
            float32 not kept.
        fall_back: whether float32 is gone on in where fewer are, or a FloatingPointError is raised.
        compiled: backbone and temporal module go through ``torch.compile``, once for every size of
            frames.
        compile_options: further arguments of ``compile_segmentor``.
        smoothing: share of the past in every frame's class probabilities, which are averaged at the
            head's stride, see ``smooth``; 0 for none.
        max_streams: how many may be under way at a time, so that forgotten ones can't fill the
            memory.

    Raises:
        ValueError: ``frame_offsets`` do not fit the model, ``smoothing`` is no share below 1,
            ``least_agreement`` no share, ``max_streams`` is less than 1, or the head's logits are
            not made of its embedding, see ``check_agreement``, which tries it once for every model.
    """

    @configurable
    def __init__(
        self,
        model: CFFMSegmentor,
        *,
        frame_offsets: Sequence[int] = DEFAULT_OFFSETS,
        augmentations: Sequence[T.Augmentation] = (),
        image_format: str = "RGB",
        autocast: torch.dtype | None = None,
        float32_parts: Sequence[str] = (),
        least_agreement: float = DEFAULT_AGREEMENT,
        fall_back: bool = True,
        compiled: bool = False,
        compile_options: Mapping[str, Any] | None = None,
        smoothing: float = 0.0,
        max_streams: int = DEFAULT_MAX_STREAMS,
    ):
        check_smoothing(smoothing)
        if max_streams < 1:
            raise ValueError(f"TEST.MAX_STREAMS (max_streams) is at least 1, got {max_streams}")
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f'image_format is "RGB" or "BGR", got "{image_format}"')
        check_offsets(frame_offsets)
        needed = model.num_references
        if needed and len(frame_offsets) != needed:
            raise ValueError(
                f"the model takes {needed} reference frames, got frame_offsets {frame_offsets}"
            )
        ensure_agreement(model.head, model.backbone)
        self._first_frames: FirstFrames | None = None
        if autocast is not None:
            half = half_precision_copy(model, autocast, float32_parts)
            first_frames = FirstFrames(model, half, least_agreement, fall_back)
            self._first_frames = first_frames if least_agreement else None
            model = half
        self.model = model.eval()
        self.frame_offsets = tuple(frame_offsets) if needed else ()
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.autocast = autocast
        self.smoothing = smoothing
        self.max_streams = max_streams
        self.compile_options = dict(compile_options or {}) if compiled else None
        if self.compile_options is not None:
            compile_segmentor(model, **self.compile_options)
        self._streams: dict[Hashable, _Stream] = {}
        self._lock = threading.RLock()

    @classmethod
    def from_config(cls, cfg: CfgNode, model: CFFMSegmentor | None = None) -> dict[str, Any]:
        """``model``: by default that of the config, with the weights of MODEL.WEIGHTS.

        Raises:
            ValueError: it is of another meta-architecture.
        """
        if model is None:
            model = build_segmentor(cfg)
            info = ModelInfo.of_config(cfg)
            SegmentorCheckpointer(model, require_all=True, info=info).load(cfg.MODEL.WEIGHTS)
        return {
            "model": model,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "augmentations": build_test_augmentations(cfg),
            "image_format": cfg.INPUT.FORMAT,
            "max_streams": cfg.TEST.MAX_STREAMS,
            **stream_options(cfg),
        }

    def reset(self, stream: Hashable | None = None) -> None:
        """Forget a stream, or by default all: the next frame is the first of a video."""
        with self._lock:
            if stream is None:
                self._streams.clear()
            else:
                self._streams.pop(stream, None)

    def step(
        self,
        frame: Frame,
        *,
        output: Output = "labels",
        output_size: tuple[int, int] | None = None,
        prototypes: Tensor | None = None,
        stream: Hashable = 0,
    ) -> Tensor:
        """Segment the next frame of a video.

        Args:
            frame: an array (H, W, 3) uint8, blue-green-red, as OpenCV reads it: resized as for
                evaluation. Or a tensor (3, H, W), 0..255, in the model's channel order: taken as
                it is. A frame of another size than the one before begins a new video.
            output: "labels", "probabilities" or "logits".
            output_size: height and width of the output; by default those of ``frame``.
            prototypes: for CFFM++: those of the video, (P, C).
            stream: which video.

        Returns:
            the class of every pixel, (height, width) uint8 (int64 for more than 256 classes); or
            (K, height, width) float. On the model's device.

        Raises:
            ValueError: the frame is empty, or has another shape or kind of values; prototypes are
                missing; or ``output_size`` is no size.
            FloatingPointError: the prediction is NaN or infinite; or, without ``fall_back``, does
                not agree with float32.
            RuntimeError: there would be more than ``max_streams``.
        """
        sizes = None if output_size is None else {stream: output_size}
        of_stream = None if prototypes is None else {stream: prototypes}
        outputs = self.step_all(
            {stream: frame}, output=output, output_sizes=sizes, prototypes=of_stream
        )
        return outputs[stream]

    @torch.inference_mode()
    def step_all(
        self,
        frames: Mapping[Hashable, Frame],
        *,
        output: Output = "labels",
        output_sizes: Mapping[Hashable, tuple[int, int]] | None = None,
        prototypes: Mapping[Hashable, Tensor] | None = None,
    ) -> dict[Hashable, Tensor]:
        """Segment the next frame of several videos; see ``step``. Streams may come and go.

        All of them go on or, where one has an error, none.
        """
        if output not in OUTPUTS:
            raise ValueError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
        for key, frame in frames.items():
            check_frame(frame, key)
        prototypes = prototypes or {}
        images = {key: self._to_image(frame) for key, frame in frames.items()}
        sizes = {key: size_of_frame(frames[key]) for key in frames} | dict(output_sizes or {})
        for key, size in sizes.items():
            check_output_size(size, key)
        results: dict[Hashable, Tensor] = {}
        with self._lock:
            self._check_number(frames)
            streams = {key: self._stream_of(key, size_of_frame(images[key])) for key in images}
            groups: dict[tuple[tuple[int, int], bool], list[Hashable]] = {}
            for key, stream in streams.items():
                has_past = bool(self._references_of(stream))
                groups.setdefault((stream.size, has_past), []).append(key)
            for keys in groups.values():
                inputs = [
                    _Input(
                        key,
                        images[key],
                        sizes[key],
                        {"prototypes": prototypes[key]} if key in prototypes else {},
                    )
                    for key in keys
                ]
                group = self._step_group(inputs, [streams[key] for key in keys])
                for key, (coarse, after) in zip(keys, group):
                    results[key] = _finish(coarse, output)
                    streams[key] = after
            self._streams.update(streams)  # all at once, when nothing can fail any more
        return {key: results[key] for key in frames}

    def _step_group(
        self, inputs: list[_Input], streams: list[_Stream]
    ) -> list[tuple[CoarseOutput, _Stream]]:
        """The next frame of streams of one size, all with or all without references.

        Returns:
            of each, the prediction and the stream after it.
        """
        encoded = self.model.encode([given.image for given in inputs])
        references = [self._references_of(stream) for stream in streams]
        if references[0]:
            batch = [type(frames[0]).cat(frames) for frames in zip(*references, strict=True)]
            items = [given.item for given in inputs]
            logits = self.model.output(encoded, self.model.mine(encoded, batch), items)
        else:
            logits = self.model.classify(encoded)
        after = self._with_frame(streams, encoded)
        coarse = self.model.coarse(logits, encoded, [given.output_size for given in inputs])
        if not all_finite(*[part for prediction in coarse for part in prediction.parts()]):
            raise self._not_finite(inputs, streams, coarse)
        if not references[0] and self.falls_back(inputs[0].image, inputs[0].item, encoded[:1]):
            return self._step_group(inputs, streams)
        if self.smoothing:
            return [self._smooth(c, stream) for c, stream in zip(coarse, after)]
        return list(zip(coarse, after))

    def falls_back(
        self, image: Tensor, item: dict[str, Any], encoded: EncodedFrames | None = None
    ) -> bool:
        """Whether the model is from now on that in float32, see ``FirstFrames.replacement``."""
        if self._first_frames is None:
            return False
        model = self._first_frames.replacement(image, item, encoded)
        if model is None:
            return False
        if self.compile_options is not None:
            compile_segmentor(model, **self.compile_options)
        self.model, self.autocast, self._first_frames = model, None, None
        return True

    def _not_finite(
        self, inputs: list[_Input], streams: list[_Stream], coarse: list[CoarseOutput]
    ) -> FloatingPointError:
        """The error of the first stream whose prediction is not finite."""
        given, stream = next(
            (given, stream)
            for given, stream, prediction in zip(inputs, streams, coarse)
            if not all_finite(*prediction.parts())
        )
        where = f"Stream {given.key}, frame {stream.index} (counted from 0)"
        prototypes = given.item.get("prototypes")
        return not_finite(where, self.model, [given.image], prototypes, self.autocast)

    def _smooth(self, coarse: CoarseOutput, stream: _Stream) -> tuple[CoarseLogits, _Stream]:
        at_stride = coarse.at_stride()
        logits, average = smooth(at_stride.values, stream.average, self.smoothing)
        return replace(at_stride, values=logits), replace(stream, average=average)

    def _references_of(self, stream: _Stream) -> list[Any]:
        """What a stream's next frame looks at, oldest first; [] where it has no past."""
        *references, _ = inference_clip(stream.index, self.frame_offsets)
        return [stream.kept[index] for index in references]

    def _with_frame(self, streams: list[_Stream], encoded: EncodedFrames) -> list[_Stream]:
        """The streams after a frame, with what later ones need of it and of those before."""
        if not self.frame_offsets:
            return [replace(stream, index=stream.index + 1) for stream in streams]
        after = []
        tokens = self.model.assemble(encoded).unbind()
        for stream, of_frame in zip(streams, tokens, strict=True):
            needed = needed_later(stream.index + 1, self.frame_offsets)
            kept = {
                index: kept.only(needed[index])
                for index, kept in {**stream.kept, stream.index: of_frame}.items()
                if index in needed
            }
            after.append(replace(stream, index=stream.index + 1, kept=kept))
        return after

    def _stream_of(self, key: Hashable, size: tuple[int, int]) -> _Stream:
        """A stream under way, or one that begins."""
        stream = self._streams.get(key)
        if stream is not None and stream.size == size:
            return stream
        if stream is not None:
            logger.warning(
                "Stream %s: frames were encoded at %dx%d and are now %dx%d (height x width). "
                "A new video begins: the past is forgotten.",
                key,
                *stream.size,
                *size,
            )
        return _Stream(size)

    def _check_number(self, keys: Iterable[Hashable]) -> None:
        number = len(self._streams.keys() | set(keys))
        if number > self.max_streams:
            raise RuntimeError(
                f"There would be {number} streams under way, and TEST.MAX_STREAMS (max_streams) is "
                f"{self.max_streams}. Forget videos that have ended by reset(stream), or raise it."
            )

    def _to_image(self, frame: Frame) -> Tensor:
        """A frame as the model takes it, (3, H, W)."""
        if isinstance(frame, Tensor):
            return frame
        resized = T.AugInput(frame)
        self.augmentations(resized)
        return image_to_tensor(resized.image, self.image_format)


def stream_options(cfg: CfgNode) -> dict[str, Any]:
    """``autocast``, ``compiled``, ``smoothing`` and what goes with them, of ``TEST``.

    Raises:
        ValueError: TEST.AUTOCAST is no kind of mixed precision.
    """
    name = cfg.TEST.AUTOCAST
    if name not in ("", "bfloat16", "float16"):
        raise ValueError(f'TEST.AUTOCAST is "bfloat16", "float16" or "" for none, got {name!r}')
    return {
        "autocast": getattr(torch, name) if name else None,
        "float32_parts": cfg.TEST.FLOAT32_PARTS,
        "least_agreement": cfg.TEST.AUTOCAST_AGREEMENT,
        "fall_back": cfg.TEST.AUTOCAST_FALLBACK,
        "compiled": cfg.TEST.COMPILE,
        "compile_options": compile_options(cfg),
        "smoothing": cfg.TEST.SMOOTHING,
    }


def compile_options(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of ``compile_segmentor`` that a config says."""
    return {"backend": cfg.COMPILE.BACKEND, "mode": cfg.COMPILE.MODE or None}


def compile_segmentor(
    model: CFFMSegmentor, *, backend: Any = "inductor", mode: str | None = None
) -> None:
    """Put the backbone and the temporal module through ``torch.compile``, in place.

    Each size of frames is compiled by itself, which is faster than one program for all and which
    all versions of torch can do; after eight sizes (``torch._dynamo.config.recompile_limit``)
    further ones run uncompiled.

    Args:
        model: the segmentor.
        backend: of ``torch.compile``: a name or a callable.
        mode: of the backend inductor: None, "reduce-overhead" (CUDA graphs) or "max-autotune".

    Raises:
        ValueError: there is no such backend.
    """
    if isinstance(backend, str) and backend not in torch.compiler.list_backends(exclude_tags=()):
        raise ValueError(
            f"COMPILE.BACKEND (backend) is one of {', '.join(torch.compiler.list_backends())}; got "
            f"{backend!r}"
        )
    logger.info("Backbone and temporal module go through torch.compile (%s)", backend)
    options: dict[str, Any] = {"backend": backend, "mode": mode, "dynamic": False}
    model.backbone.compile(**options)
    if model.temporal is not None:
        model.temporal.module.compile(**options)


def needed_later(index: int, offsets: Sequence[int]) -> dict[int, set[int]]:
    """Past frame -> the slots in which frame ``index`` and later ones need it."""
    needed: dict[int, set[int]] = {}
    for target in range(index, index - min(offsets, default=0)):
        *references, _ = inference_clip(target, offsets)
        for slot, reference in enumerate(references):
            if reference < index:
                needed.setdefault(reference, set()).add(slot)
    return needed


def _finish(logits: CoarseOutput, output: Output) -> Tensor:
    if output == "labels":
        return logits.label_map()
    return logits.probabilities() if output == "probabilities" else logits.logits()
