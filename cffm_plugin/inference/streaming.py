"""Frame in, label map out; past frames are kept as small tokens.

The paper reports its frame rate with the reference features at hand (CFFM, section 4.2). A stream
has them: what a frame gives to later ones depends on that frame alone, so every frame is encoded
once, and the result is that of the clip to the bit.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.modeling import build_model
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
    check_agreement,
    training_side,
)
from .smoothing import check_smoothing, smooth

Frame = np.ndarray | Tensor
Output = Literal["labels", "probabilities", "logits"]
OUTPUTS = ("labels", "probabilities", "logits")

logger = logging.getLogger(__name__)


@dataclass
class _Stream:
    """One video under way.

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
    each, and encodes those of one size together.

    Args:
        model: a CFFMSegmentor, with or without a temporal module. It is put in evaluation mode.
        frame_offsets: references relative to the target, oldest first, one for each that the
            model takes.
        augmentations: applied to frames that come as arrays.
        image_format: channel order that the model takes, "RGB" or "BGR".
        autocast: a dtype to compute in, such as ``torch.bfloat16``; None for the weights' own.
        compiled: backbone and temporal module go through ``torch.compile``, once for every size of
            frames.
        smoothing: share of the past in every frame's class probabilities, which are averaged at the
            head's stride, see ``smooth``; 0 for none.

    Raises:
        ValueError: ``frame_offsets`` do not fit the model, or ``smoothing`` is no share below 1.
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
        compiled: bool = False,
        smoothing: float = 0.0,
    ):
        check_smoothing(smoothing)
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f'image_format is "RGB" or "BGR", got "{image_format}"')
        check_offsets(frame_offsets)
        needed = model.num_references
        if needed and len(frame_offsets) != needed:
            raise ValueError(
                f"the model takes {needed} reference frames, got frame_offsets {frame_offsets}"
            )
        self.model = model.eval()
        self.frame_offsets = tuple(frame_offsets) if needed else ()
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.autocast = autocast
        self.smoothing = smoothing
        if compiled:
            compile_segmentor(model)
        self._streams: dict[Hashable, _Stream] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode, model: CFFMSegmentor | None = None) -> dict[str, Any]:
        """``model``: by default that of the config, with the weights of MODEL.WEIGHTS.

        Raises:
            ValueError: its head's logits are not made of its embedding, see ``check_agreement``.
        """
        if model is None:
            model = build_model(cfg)
            check_agreement(model.head, model.backbone, training_side(cfg))
            info = ModelInfo.of_config(cfg)
            SegmentorCheckpointer(model, require_all=True, info=info).load(cfg.MODEL.WEIGHTS)
        return {
            "model": model,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "augmentations": build_test_augmentations(cfg),
            "image_format": cfg.INPUT.FORMAT,
            **stream_options(cfg),
        }

    def reset(self, stream: Hashable | None = None) -> None:
        """Forget a stream, or by default all: the next frame is the first of a video."""
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
            the class of every pixel, (height, width) uint8; or (K, height, width) float. On the
            model's device.

        Raises:
            ValueError: the frame has another shape or kind of values, or prototypes are missing.
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
        """Segment the next frame of several videos; see ``step``. Streams may come and go."""
        if output not in OUTPUTS:
            raise ValueError(f"output is one of {', '.join(OUTPUTS)}; got {output!r}")
        prototypes = prototypes or {}
        images = {key: self._to_image(frame) for key, frame in frames.items()}
        sizes = {key: _size_of(frame) for key, frame in frames.items()} | dict(output_sizes or {})
        groups: dict[tuple[tuple[int, int], bool], list[Hashable]] = {}
        for key, image in images.items():
            stream = self._stream_for(key, (image.shape[1], image.shape[2]))
            has_past = bool(self._references_of(stream))
            groups.setdefault((stream.size, has_past), []).append(key)
        results: dict[Hashable, Tensor] = {}
        for keys in groups.values():
            with self.precision():
                coarse = self._step_group(
                    {key: images[key] for key in keys},
                    [sizes[key] for key in keys],
                    [{"prototypes": prototypes[key]} if key in prototypes else {} for key in keys],
                )
            results.update((key, _finish(logits, output)) for key, logits in zip(keys, coarse))
        return {key: results[key] for key in frames}

    def _step_group(
        self,
        images: Mapping[Hashable, Tensor],
        output_sizes: list[tuple[int, int]],
        items: list[dict[str, Any]],
    ) -> list[CoarseOutput]:
        """The next frame of streams of one size, all with or all without references."""
        streams = [self._streams[key] for key in images]
        encoded = self.model.encode(list(images.values()))
        references = [self._references_of(stream) for stream in streams]
        if references[0]:
            batch = [type(frames[0]).cat(frames) for frames in zip(*references, strict=True)]
            logits = self.model.output(encoded, self.model.mine(encoded, batch), items)
        else:
            logits = self.model.classify(encoded)
        self._remember(streams, encoded)
        coarse = self.model.coarse(logits, encoded, output_sizes)
        if self.smoothing:
            return [self._smooth(stream, c) for stream, c in zip(streams, coarse)]
        return coarse

    def _smooth(self, stream: _Stream, coarse: CoarseOutput) -> CoarseLogits:
        at_stride = coarse.at_stride()
        logits, stream.average = smooth(at_stride.values, stream.average, self.smoothing)
        return replace(at_stride, values=logits)

    def _references_of(self, stream: _Stream) -> list[Any]:
        """What a stream's next frame looks at, oldest first; [] where it has no past."""
        *references, _ = inference_clip(stream.index, self.frame_offsets)
        return [stream.kept[index] for index in references]

    def _remember(self, streams: list[_Stream], encoded: EncodedFrames) -> None:
        """Keep what later frames need of the frames just seen, and drop what they do not."""
        if not self.frame_offsets:
            return
        tokens = self.model.assemble(encoded).unbind()
        for stream, of_frame in zip(streams, tokens, strict=True):
            stream.kept[stream.index] = of_frame
            stream.index += 1
            needed = needed_later(stream.index, self.frame_offsets)
            stream.kept = {
                index: kept.only(needed[index])
                for index, kept in stream.kept.items()
                if index in needed
            }

    def _stream_for(self, key: Hashable, size: tuple[int, int]) -> _Stream:
        stream = self._streams.get(key)
        if stream is not None and stream.size != size:
            logger.warning(
                "Stream %s: frames were encoded at %dx%d and are now %dx%d (height x width). "
                "A new video begins: the past is forgotten.",
                key,
                *stream.size,
                *size,
            )
            stream = None
        if stream is None:
            stream = self._streams[key] = _Stream(size)
        return stream

    def _to_image(self, frame: Frame) -> Tensor:
        """A frame as the model takes it, (3, H, W)."""
        if isinstance(frame, Tensor):
            if frame.dim() != 3 or frame.shape[0] != 3:
                raise ValueError(f"a frame tensor is (3, H, W), got {tuple(frame.shape)}")
            return frame
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(
                f"a frame array is (H, W, 3) uint8, blue-green-red, got {frame.shape} {frame.dtype}"
            )
        resized = T.AugInput(frame)
        self.augmentations(resized)
        return image_to_tensor(resized.image, self.image_format)

    def precision(self) -> torch.autocast:
        """The context that the model computes in."""
        device = self.model.device.type
        return torch.autocast(device, dtype=self.autocast, enabled=self.autocast is not None)


def stream_options(cfg: CfgNode) -> dict[str, Any]:
    """``autocast``, ``compiled`` and ``smoothing`` of ``TEST``.

    Raises:
        ValueError: TEST.AUTOCAST is no kind of mixed precision.
    """
    name = cfg.TEST.AUTOCAST
    if name not in ("", "bfloat16", "float16"):
        raise ValueError(f'TEST.AUTOCAST is "bfloat16", "float16" or "" for none, got {name!r}')
    return {
        "autocast": getattr(torch, name) if name else None,
        "compiled": cfg.TEST.COMPILE,
        "smoothing": cfg.TEST.SMOOTHING,
    }


def compile_segmentor(model: CFFMSegmentor) -> None:
    """Put the backbone and the temporal module through ``torch.compile``, in place."""
    model.backbone.compile()
    if model.temporal is not None:
        model.temporal.module.compile()


def _size_of(frame: Frame) -> tuple[int, int]:
    height, width = frame.shape[1:] if isinstance(frame, Tensor) else frame.shape[:2]
    return height, width


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
