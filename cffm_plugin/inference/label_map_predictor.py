"""Label maps for the evaluator, from a stream or from clips: the same to the last pixel."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from ..modeling import CFFMSegmentor
from .streaming import StreamingSegmentor, precision_and_compilation


class LabelMapPredictor(nn.Module):
    """Wraps a CFFMSegmentor to give label maps instead of logits, for ``inference_on_dataset``.

    Args:
        model: the segmentor.
        frame_offsets: references relative to the target.
        streaming: whether videos come as streams, a record's ``image`` being its frame alone; or as
            clips, ``image`` being the whole clip.
        options: ``autocast`` and ``compiled`` of ``StreamingSegmentor``.
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
        self.model = model
        self.streaming = streaming
        self.stream = StreamingSegmentor(model, frame_offsets=frame_offsets, **options)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: CFFMSegmentor, streaming: bool = True
    ) -> dict[str, Any]:
        return {
            "model": model,
            "frame_offsets": cfg.MODEL.TEMPORAL.FRAME_OFFSETS,
            "streaming": streaming,
            **precision_and_compilation(cfg),
        }

    @torch.inference_mode()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """
        Args:
            batched_inputs: as for the model; to stream, frames of videos in order, with their
                ``frame_index``.

        Returns:
            a list of ``{"label_map": (height, width) uint8}``.
        """
        return [{"label_map": self._predict(item)} for item in batched_inputs]

    def _predict(self, item: dict[str, Any]) -> Tensor:
        if not self.streaming:
            with self.stream.precision():
                logits = self.model.coarse_logits(item)
            return logits.label_map()
        if item["frame_index"] == 0:
            self.stream.reset()
        image = item["image"]
        frame = image if isinstance(image, Tensor) else image[-1]
        return self.stream.step(
            frame,
            output_size=(item["height"], item["width"]),
            prototypes=item.get("prototypes"),
        )
