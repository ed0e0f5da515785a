"""What evaluation puts around a model, so that every frame of a video is read once."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from ..core.clips import inference_clip, needed_later
from ..core.finite import name_of_frame, not_finite
from ..core.smoothing import check_smoothing, smooth
from ..modeling import CFFMSegmentor, all_finite
from .streaming import StreamingSegmentor, stream_options


class LabelMapPredictor(nn.Module):
    """Wraps a CFFMSegmentor to give label maps instead of logits, for ``inference_on_dataset``.

    Args:
        model: the segmentor.
        frame_offsets: references relative to the target.
        streaming: whether videos come as streams, a record's ``image`` being its frame alone; or as
            clips, ``image`` being the whole clip.
        options: further arguments of ``StreamingSegmentor``: ``autocast``, ``compiled``,
            ``smoothing`` and what goes with them.

    Raises:
        ValueError: ``smoothing`` of clips, which have no past but their references.
    """

    @configurable
    def __init__(
        self,
        model: CFFMSegmentor,
        *,
        frame_offsets: Sequence[int],
        streaming: bool = True,
        **options: Any,
    ):
        super().__init__()
        check_smoothing(options.get("smoothing", 0.0), streaming)
        self.streaming = streaming
        self.stream = StreamingSegmentor(model, frame_offsets=frame_offsets, **options)
        self.model = self.stream.model

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: CFFMSegmentor, streaming: bool = True
    ) -> dict[str, Any]:
        return {
            "model": model,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "streaming": streaming,
            **stream_options(cfg),
        }

    @torch.inference_mode()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """
        Args:
            batched_inputs: as for the model; to stream, frames of videos in order, with their
                ``frame_index``.

        Returns:
            a list of ``{"label_map": (height, width) uint8}``.

        Raises:
            FloatingPointError: a prediction is NaN or infinite.
        """
        return [{"label_map": self._predict(item)} for item in batched_inputs]

    def _predict(self, item: dict[str, Any]) -> Tensor:
        if not self.streaming:
            return self._predict_clip(item)
        if item["frame_index"] == 0:
            self.stream.reset()
        image = item["image"]
        frame = image if isinstance(image, Tensor) else image[-1]
        return self.stream.step(
            frame,
            channel_order=self.stream.model.image_format,
            output_size=(item["height"], item["width"]),
            prototypes=item.get("prototypes"),
            stream=f"video {item.get('video_id', 'unknown')}",
        )

    def _predict_clip(self, item: dict[str, Any]) -> Tensor:
        image, prototypes = item["image"], item.get("prototypes")
        frames = [image] if isinstance(image, Tensor) else image
        prediction = self.stream.model.coarse_output(item)
        if not all_finite(*prediction.parts()):
            model, autocast = self.stream.model, self.stream.autocast
            raise not_finite(name_of_frame(item), model, frames, prototypes, autocast)
        if self.stream.falls_back(frames[-1], item):
            prediction = self.stream.model.coarse_output(item)
        return prediction.label_map()


class ClipsOfFrames(nn.Module):
    """Wraps any model of clips to take videos frame by frame, so that every frame is read once.

    Args:
        model: takes clips and gives logits, as a CFFMSegmentor does.
        frame_offsets: references relative to the target; () for the target alone.
        smoothing: as of ``StreamingSegmentor``, but at full resolution.
    """

    @configurable
    def __init__(self, model: nn.Module, *, frame_offsets: Sequence[int], smoothing: float = 0.0):
        super().__init__()
        check_smoothing(smoothing)
        self.model = model
        self.frame_offsets = tuple(frame_offsets)
        self.smoothing = smoothing
        self._frames: dict[int, Tensor] = {}
        self._average: Tensor | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        node = cfg.MODEL.TEMPORAL
        return {
            "model": model,
            "frame_offsets": node.FRAME_OFFSETS if node.ENABLED else (),
            "smoothing": cfg.TEST.SMOOTHING,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """
        Args:
            batched_inputs: frames of videos in order, with their ``frame_index``.
        """
        outputs = self.model([item | {"image": self._clip_of(item)} for item in batched_inputs])
        if not self.smoothing:
            return outputs
        return [self._smooth(item, output) for item, output in zip(batched_inputs, outputs)]

    def _smooth(self, item: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
        past = None if item["frame_index"] == 0 else self._average
        logits, self._average = smooth(output["sem_seg"], past, self.smoothing)
        return output | {"sem_seg": logits}

    def _clip_of(self, item: dict[str, Any]) -> list[Tensor]:
        index, image = item["frame_index"], item["image"]
        if index == 0:
            self._frames.clear()
        self._frames[index] = image if isinstance(image, Tensor) else image[-1]
        clip = [self._frames[i] for i in inference_clip(index, self.frame_offsets)]
        needed = needed_later(index + 1, self.frame_offsets)
        self._frames = {i: frame for i, frame in self._frames.items() if i in needed}
        return clip
