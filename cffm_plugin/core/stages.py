"""The forward pass of a video segmentor, in the stages that all else calls."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .clip_inputs import prototypes_of
from .encoded import EncodedFrames, size_of
from .head_embedding import HeadEmbedding
from .label_maps import CoarseOutput, resize
from .padding import pad_to_one_size
from .past import KeptTokens, Past
from .prediction import Prediction, as_prediction
from .prototype_branch import PrototypeBranch
from .temporal_head import TemporalHead
from .temporal_module import FrameFeatures, Refined, cells_of


class SegmentorStages(nn.Module):
    """``encode`` frames; ``classify`` them, for the image segmentor's logits; or refine them, as
    the targets of clips (``refine_clip``) or the next frames of streams (``advance``), and
    ``output`` the video logits; then ``coarse``.

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
    def clip_length(self) -> int | None:
        """Frames of a clip, the target included; None: any number."""
        return 1 if self.temporal is None else self.temporal.module.clip_length

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
        dtype = self.pixel_mean.dtype  # of the weights; frames may be of more bits
        normalised = [n if n.dtype == dtype else n.to(dtype) for n in normalised]
        constraints = getattr(self.backbone, "padding_constraints", None)
        batch = pad_to_one_size(normalised, self.head.size_divisibility, constraints=constraints)
        return batch, size_of(frames[0])

    def encode_padded(self, batch: Tensor, image_size: tuple[int, int]) -> EncodedFrames:
        """As ``encode``, of a batch (N, 3, H, W) that is normalised and padded already."""
        features = self.backbone(batch)
        return self.encoded(batch, features, *self.head.embed(features), image_size)

    def encoded(
        self,
        batch: Tensor,
        features: Any,
        embedding: Tensor,
        context: Any,
        image_size: tuple[int, int],
    ) -> EncodedFrames:
        """Frames whose embedding (N, C, h, w) is there, with what ``temporal`` gets of them.

        Args:
            batch: the frames, as of ``encode_padded``.
            features: the backbone's maps.
            embedding, context: the head's.
            image_size: before padding.
        """
        self.head.check_size(embedding, size_of(batch))
        if self.temporal is None:
            given = FrameFeatures(embedding)
        else:
            given = self.temporal.features(embedding, self.head.stride, features, batch)
        return EncodedFrames(embedding, context, given, image_size, size_of(batch))

    def classify(self, encoded: EncodedFrames) -> Prediction:
        """The image segmentor's prediction of N frames."""
        return as_prediction(self.head.classify(encoded.embedding, encoded.context))

    def refine_clip(
        self, references: Iterable[EncodedFrames], target: EncodedFrames
    ) -> Tensor | Refined:
        """The refined cells of N clips' targets, (N, dim, h', w'); in training maybe ``Refined``.

        Args:
            references: of each place in the clips, oldest first, N frames.
            target: N frames.
        """
        assert self.temporal is not None
        past = (frames.features for frames in references)
        return self.temporal.module.refine_clip(past, target.features)

    def first_past(self, frame_offsets: Sequence[int]) -> Past:
        """A stream's past at its start, see ``TemporalModule.first_past``."""
        if self.temporal is None:
            return KeptTokens()
        return self.temporal.module.first_past(frame_offsets)

    def advance(
        self, encoded: EncodedFrames, pasts: Sequence[Past]
    ) -> tuple[Tensor | None, list[Past]]:
        """The next frame of N streams, whose pasts are of one group.

        Returns:
            the refined cells, (N, dim, h', w'), None where the image segmentor alone segments these
            frames; and the pasts after them.
        """
        module = None if self.temporal is None else self.temporal.module
        return type(pasts[0]).advance(module, encoded.features, pasts)

    def output(
        self, target: EncodedFrames, refined: Tensor | Refined, items: Sequence[dict[str, Any]] = ()
    ) -> Prediction:
        """The video prediction of N targets, at the output's stride.

        Args:
            target: N frames.
            refined: their refined cells.
            items: with a prototype branch: N dicts with ``prototypes``.
        """
        assert self.temporal is not None
        prediction = as_prediction(self.temporal.output(target, cells_of(refined), self.head))
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
