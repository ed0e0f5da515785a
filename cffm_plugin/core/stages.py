"""The forward pass of a video segmentor, in the stages that all else calls."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .clip_inputs import prototypes_of
from .encoded import EncodedFrames, size_of
from .head_embedding import HeadEmbedding
from .label_maps import CoarseOutput, resize
from .padding import pad_to_one_size
from .prediction import Prediction, as_prediction
from .prototype_branch import PrototypeBranch
from .temporal_head import TemporalHead


class SegmentorStages(nn.Module):
    """``encode`` frames; ``classify`` them, for the image segmentor's logits; or ``assemble`` the
    references, ``mine`` them for the target, and ``output`` the video logits; then ``coarse``.

    Training, evaluation, streams, export and benchmarks call these alike.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    backbone: Any
    head: HeadEmbedding
    temporal: TemporalHead | None
    prototype_branch: PrototypeBranch | None
    prototype_logit_weight: float

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def num_references(self) -> int:
        """Frames that it looks at besides the target."""
        return 0 if self.temporal is None else self.temporal.module.num_references

    def encode(self, frames: Sequence[Tensor]) -> EncodedFrames:
        """The image segmentor's part of the work, up to the embedding.

        Args:
            frames: N tensors (3, H, W) of one size, values 0..255.
        """
        return self.encode_padded(*self.normalise_and_pad(frames))

    def normalise_and_pad(self, frames: Sequence[Tensor]) -> tuple[Tensor, tuple[int, int]]:
        """Frames (3, H, W), values 0..255 -> a batch as the backbone takes it, and the first's size
        before it was padded."""
        normalised = [(f.to(self.device) - self.pixel_mean) / self.pixel_std for f in frames]
        constraints = getattr(self.backbone, "padding_constraints", None)
        batch = pad_to_one_size(normalised, self.head.size_divisibility, constraints=constraints)
        return batch, size_of(frames[0])

    def encode_padded(self, batch: Tensor, image_size: tuple[int, int]) -> EncodedFrames:
        """As ``encode``, of a batch (N, 3, H, W) that is normalised and padded already."""
        return self.encoded(*self.head.embed(self.backbone(batch)), image_size, size_of(batch))

    def encoded(
        self,
        embedding: Tensor,
        context: Any,
        image_size: tuple[int, int],
        padded_size: tuple[int, int],
    ) -> EncodedFrames:
        """Embeddings (N, C, h, w), which must cover the frames, with the cells of ``temporal``."""
        self.head.check_size(embedding, padded_size)
        cells = embedding
        if self.temporal is not None:
            cells = self.temporal.resample(embedding, self.head.stride)
        return EncodedFrames(embedding, context, cells, image_size, padded_size)

    def classify(self, encoded: EncodedFrames) -> Prediction:
        """The image segmentor's prediction of N frames."""
        return as_prediction(self.head.classify(encoded.embedding, encoded.context))

    def assemble(self, encoded: EncodedFrames, slots: Sequence[int] | None = None) -> Any:
        """What later targets look at, see ``TemporalModule.assemble``."""
        assert self.temporal is not None
        return self.temporal.module.assemble(encoded.cells, slots)

    def mine(self, target: EncodedFrames, references: Sequence[Any]) -> Tensor:
        """The refined cells of N targets, (N, dim, h', w').

        Args:
            target: N frames.
            references: their references' tokens, oldest first, each a batch of N.
        """
        assert self.temporal is not None
        return self.temporal.module.mine(target.cells, references)

    def output(
        self, target: EncodedFrames, refined: Tensor, items: Sequence[dict[str, Any]] = ()
    ) -> Prediction:
        """The video prediction of N targets, at the output's stride.

        Args:
            target: N frames.
            refined: of ``mine``.
            items: with a prototype branch: N dicts with ``prototypes``.
        """
        assert self.temporal is not None
        prediction = as_prediction(self.temporal.output(target, refined, self.head))
        if self.prototype_branch is None:
            return prediction
        logits = prediction.logits()
        branch_logits = resize(self.prototype_logits(target, items), logits.shape[-2:])
        return as_prediction(logits + self.prototype_logit_weight * branch_logits)

    def coarse(
        self,
        prediction: Prediction,
        encoded: EncodedFrames,
        output_sizes: Sequence[tuple[int, int]],
    ) -> list[CoarseOutput]:
        """A prediction of N frames, on the way to outputs of N heights and widths."""
        head = self.head
        return list(prediction.coarse(encoded, head.stride, output_sizes, head.upsampling))

    def prototype_logits(self, target: EncodedFrames, items: Sequence[dict[str, Any]]) -> Tensor:
        """The global branch's logits of N targets, (N, K, h', w')."""
        assert self.prototype_branch is not None
        prototypes = [tensor.to(self.pixel_mean) for tensor in prototypes_of(items)]
        return self.prototype_branch(target.cells, prototypes)
