"""Frame in, label map out; past frames are kept as small tokens, or as a state.

The paper reports its frame rate with the reference features at hand (CFFM, section 4.2). A stream
has them: every frame is encoded once, and the result is that of the clip to the bit.
"""

import logging
import threading
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from .agreement import ensure_agreement
from .clip_segmentor import ClipSegmentor
from .clips import check_offsets
from .compiling import compile_segmentor
from .encoded import EncodedFrames
from .finite import not_finite
from .first_frames import DEFAULT_AGREEMENT, FirstFrames
from .frames import (
    Frame,
    Resize,
    check_channel_order,
    check_frame,
    check_output_size,
    frame_to_tensor,
    size_of_frame,
)
from .half_precision import half_precision_copy
from .label_maps import CoarseLogits, CoarseOutput, all_finite
from .past import KeptTokens
from .smoothing import check_smoothing, smooth
from .stream_state import StreamInput, StreamState

Output = Literal["labels", "probabilities", "logits"]
OUTPUTS = ("labels", "probabilities", "logits")
DEFAULT_MAX_STREAMS = 256

logger = logging.getLogger(__name__)


class StreamingSegmentor:
    """Segments the frames of one or several videos as they come.

        segmentor = StreamingSegmentor(model)
        for frame in video:
            labels = segmentor.step(frame)

    With a windowed module frame t is segmented with the references that a clip would have
    (``inference_clip``): the first frames by the image segmentor, then with what past there is. A
    recurrent module refines every frame, the first included, by the state that the frames before
    left. Memory does not grow with the length of the video.

    Several videos at once are told apart by a key of the caller's; ``step_all`` takes a frame of
    each, and encodes those of one size together. A frame that ends in an error leaves all streams
    as they were before it, so that they can go on with their next.

    Several threads may share one: their calls wait for one another. Frames of one video must come
    from one thread at a time, or nobody knows their order.

    Args:
        model: with or without a temporal module. It is put in evaluation mode.
        frame_offsets: references relative to the target, oldest first, one for each that the
            model takes; by default the model's. A recurrent module looks at every frame, whatever
            they are.
        resize: brings a frame, (H, W, 3) uint8, to the size that the model is to see; by default
            frames are taken as they are.
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

    def __init__(
        self,
        model: ClipSegmentor,
        *,
        frame_offsets: Sequence[int] | None = None,
        resize: Resize | None = None,
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
        if frame_offsets is None:
            frame_offsets = model.frame_offsets
        check_offsets(frame_offsets)
        self._first_past = model.first_past(frame_offsets)
        ensure_agreement(model.head, model.backbone)
        self._first_frames: FirstFrames | None = None
        if autocast is not None:
            half = half_precision_copy(model, autocast, float32_parts)
            first_frames = FirstFrames(model, half, least_agreement, fall_back)
            self._first_frames = first_frames if least_agreement else None
            model = half
        self.model = model.eval()
        self.resize = resize
        self.autocast = autocast
        self.smoothing = smoothing
        self.max_streams = max_streams
        self.compile_options = dict(compile_options or {}) if compiled else None
        if self.compile_options is not None:
            compile_segmentor(model, **self.compile_options)
        self._streams: dict[Hashable, StreamState] = {}
        self._lock = threading.RLock()

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
        channel_order: str = "RGB",
        output: Output = "labels",
        output_size: tuple[int, int] | None = None,
        prototypes: Tensor | None = None,
        stream: Hashable = 0,
    ) -> Tensor:
        """Segment the next frame of a video.

        Args:
            frame: an array (H, W, 3) uint8; or a tensor (3, H, W), 0..255. Both give the same. A
                frame of another size than the one before begins a new video.
            channel_order: of the frame: "RGB", or "BGR", as OpenCV reads it.
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
        stream_prototypes = None if prototypes is None else {stream: prototypes}
        outputs = self.step_all(
            {stream: frame},
            channel_order=channel_order,
            output=output,
            output_sizes=sizes,
            prototypes=stream_prototypes,
        )
        return outputs[stream]

    @torch.inference_mode()
    def step_all(
        self,
        frames: Mapping[Hashable, Frame],
        *,
        channel_order: str = "RGB",
        output: Output = "labels",
        output_sizes: Mapping[Hashable, tuple[int, int]] | None = None,
        prototypes: Mapping[Hashable, Tensor] | None = None,
        image_only: Container[Hashable] = (),
    ) -> dict[Hashable, Tensor]:
        """Segment the next frame of several videos; see ``step``. Streams may come and go.

        All of them go on or, where one has an error, none.

        Args:
            image_only: keys of frames that the image segmentor segments, each by itself; they are
                of no stream.
        """
        if output not in OUTPUTS:
            raise ValueError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
        check_channel_order(channel_order, "channel_order")
        for key, frame in frames.items():
            check_frame(frame, key)
        items = {key: {"prototypes": given} for key, given in (prototypes or {}).items()}
        reverse = channel_order != self.model.image_format
        sizes = {key: size_of_frame(frames[key]) for key in frames} | dict(output_sizes or {})
        for key, size in sizes.items():
            check_output_size(size, key)
        inputs = {}
        for key, frame in frames.items():
            image = frame_to_tensor(frame, reverse=reverse, resize=self.resize)
            inputs[key] = StreamInput(key, image, sizes[key], items.get(key, {}))
        with self._lock:
            own = [key for key in frames if key not in image_only]
            self._check_number(own)
            streams = {
                key: StreamState(size_of_frame(given.image), KeptTokens())
                if key in image_only
                else self._stream_of(key, size_of_frame(given.image))
                for key, given in inputs.items()
            }
            results, after = self._step_streams(inputs, streams, output)
            self._streams.update({key: after[key] for key in own})  # when nothing can fail any more
        return {key: results[key] for key in frames}

    def _step_streams(
        self,
        inputs: Mapping[Hashable, StreamInput],
        streams: Mapping[Hashable, StreamState],
        output: Output,
    ) -> tuple[dict[Hashable, Tensor], dict[Hashable, StreamState]]:
        """The next frame of every stream: outputs, and the streams after it. What can go on in one
        batch does."""
        groups: dict[Hashable, list[Hashable]] = {}
        for key, stream in streams.items():
            groups.setdefault((stream.size, stream.past.group), []).append(key)
        results, after = {}, {}
        for keys in groups.values():
            group = self._step_group([inputs[key] for key in keys], [streams[key] for key in keys])
            for key, (coarse, stream) in zip(keys, group):
                results[key], after[key] = _finish(coarse, output), stream
        return results, after

    def _step_group(
        self, inputs: list[StreamInput], streams: list[StreamState]
    ) -> list[tuple[CoarseOutput, StreamState]]:
        """The next frame of streams of one size, whose pasts are of one group.

        Returns:
            of each, the prediction and the stream after it.
        """
        encoded = self.model.encode([given.image for given in inputs])
        refined, pasts = self.model.advance(encoded, [stream.past for stream in streams])
        if refined is None:
            prediction = self.model.classify(encoded)
        else:
            prediction = self.model.output(encoded, refined, [given.item for given in inputs])
        after = [replace(stream, past=past) for stream, past in zip(streams, pasts, strict=True)]
        coarse = self.model.coarse(prediction, encoded, [given.output_size for given in inputs])
        if not all_finite(*[part for each in coarse for part in each.parts()]):
            raise self._not_finite(inputs, streams, coarse)
        if streams[0].past.is_empty and self.falls_back(
            inputs[0].image, inputs[0].item, encoded[:1]
        ):
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
        self, inputs: list[StreamInput], streams: list[StreamState], coarse: list[CoarseOutput]
    ) -> FloatingPointError:
        """The error of the first stream whose prediction is not finite."""
        given, stream = next(
            (given, stream)
            for given, stream, prediction in zip(inputs, streams, coarse)
            if not all_finite(*prediction.parts())
        )
        where = f"Stream {given.key}, frame {stream.past.index} (counted from 0)"
        prototypes = given.item.get("prototypes")
        return not_finite(where, self.model, [given.image], prototypes, self.autocast)

    def _smooth(
        self, coarse: CoarseOutput, stream: StreamState
    ) -> tuple[CoarseLogits, StreamState]:
        at_stride = coarse.at_stride()
        logits, average = smooth(at_stride.values, stream.average, self.smoothing)
        return replace(at_stride, values=logits), replace(stream, average=average)

    def _stream_of(self, key: Hashable, size: tuple[int, int]) -> StreamState:
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
        return StreamState(size, self._first_past)

    def _check_number(self, keys: Iterable[Hashable]) -> None:
        number = len(self._streams.keys() | set(keys))
        if number > self.max_streams:
            raise RuntimeError(
                f"There would be {number} streams under way, and TEST.MAX_STREAMS (max_streams) is "
                f"{self.max_streams}. Forget videos that have ended by reset(stream), or raise it."
            )


def _finish(logits: CoarseOutput, output: Output) -> Tensor:
    if output == "labels":
        return logits.label_map()
    return logits.probabilities() if output == "probabilities" else logits.logits()
