"""The heads of Hugging Face's models of mask classification: Mask2Former and MaskFormer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.head_embedding import Features
from ...core.losses import pixel_cross_entropy
from ...core.mask_prediction import MaskPrediction
from ...core.mask_targets import labelled_frames, masks_of_classes

Layer = tuple[Tensor, Tensor]  # of a decoder layer: masks (N, Q, h, w), classes (N, Q, K + 1)


class HFMaskHead(nn.Module):
    """A pixel decoder, whose mask features are the embedding, and queries that look at them.

    ``classify`` runs the transformer decoder, so that it meets refined mask features just as it
    meets the head's own.

    Args:
        pixel_decoder: an encoder's maps -> mask features (N, C, h, w), and what the queries attend
            to, in containers.
        queries: these two -> masks and classes of every decoder layer, the last one's last. Its
            ``predictor`` is the classifier.
        criterion: transformers' loss, with ``weight_dict``; None to train with the cross entropy of
            the semantic map.
        channels, stride: of the embedding; the stride is relative to the image.
        num_classes: K.
        ignore_value: label of pixels without a class.
        mask_size: see ``MaskPrediction``.

    Attributes:
        gives_logits: False, outputs are semantic maps.
        brings_weights: whether it was built with trained weights.
    """

    gives_logits = False
    brings_weights = False

    def __init__(
        self,
        pixel_decoder: nn.Module,
        queries: nn.Module,
        criterion: Any,
        *,
        channels: int,
        stride: int,
        num_classes: int,
        ignore_value: int,
        mask_size: tuple[int, int] | None,
    ):
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.queries = queries
        self.criterion = criterion
        if criterion is not None:  # or checkpoints of other classes would not fit
            criterion.register_buffer("empty_weight", criterion.empty_weight, persistent=False)
        self.embedding_channels = channels
        self.embedding_stride = stride
        self.num_classes = num_classes
        self.ignore_value = ignore_value
        self.mask_size = mask_size

    def embed(self, features: Features) -> tuple[Tensor, Any]:
        """The backbone's maps -> mask features (N, C, h, w), and what the queries attend to."""
        return self.pixel_decoder(tuple(features.values()))

    def classify(self, embedding: Tensor, context: Any) -> MaskPrediction:
        """Masks and classes of the queries; those of earlier decoder layers are auxiliary."""
        *earlier, (masks, classes) = self.queries(embedding, context)
        return MaskPrediction(masks, classes, earlier, mask_size=self.mask_size)

    def losses(self, prediction: MaskPrediction, labels: Tensor) -> dict[str, Tensor]:
        """The criterion's weighted losses, or the cross entropy of the semantic map.

        Args:
            prediction: of N frames. Frames without a labelled pixel count nowhere.
            labels: (N, H, W) int64, classes or ``ignore_value``.
        """
        if self.criterion is None:
            logits = prediction.logits()
            return {"loss_sem_seg": pixel_cross_entropy(logits, labels, self.ignore_value)}
        frames, scale = labelled_frames(labels, self.ignore_value)
        targets = [masks_of_classes(labels[n], self.ignore_value) for n in frames]
        classes_of, masks_of = [c for c, _ in targets], [m.float() for _, m in targets]
        earlier = [
            {"masks_queries_logits": masks[frames], "class_queries_logits": classes[frames]}
            for masks, classes in prediction.auxiliary
        ]
        losses = self.criterion(
            prediction.masks[frames], prediction.classes[frames], masks_of, classes_of, earlier
        )
        weights = self.criterion.weight_dict  # by the beginnings of names: layers are numbered
        return {
            name: scale * next(w for key, w in weights.items() if name.startswith(key)) * loss
            for name, loss in losses.items()
        }

    def forward(
        self, features: Features, targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """As detectron2's heads: in training losses, otherwise maps (N, K, H, W) of scores."""
        prediction = self.classify(*self.embed(features))
        if self.training:
            assert targets is not None
            return None, self.losses(prediction, targets)
        height, width = (self.embedding_stride * side for side in prediction.masks.shape[-2:])
        return prediction.semantic_map((height, width)), {}


class Mask2FormerPixelDecoder(nn.Module):
    """Multi-scale deformable attention over the encoder's maps.

    Args:
        decoder: of transformers.
    """

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        decoded = self.decoder(list(maps), output_hidden_states=False, return_dict=True)
        return decoded.mask_features, tuple(decoded.multi_scale_features)


class Mask2FormerQueries(nn.Module):
    """Queries that attend within the masks of the layer before.

    Args:
        transformer: of transformers.
        predictor: the classifier, K + 1 classes.
    """

    def __init__(self, transformer: nn.Module, predictor: nn.Module):
        super().__init__()
        self.transformer = transformer
        self.predictor = predictor

    def forward(self, mask_features: Tensor, attended: Sequence[Tensor]) -> list[Layer]:
        decoded = self.transformer(list(attended), mask_features, output_hidden_states=True)
        queries = (hidden.transpose(0, 1) for hidden in decoded.intermediate_hidden_states)
        return list(zip(decoded.masks_queries_logits, map(self.predictor, queries), strict=True))


class MaskFormerPixelDecoder(nn.Module):
    """A feature pyramid; the queries attend to the encoder's coarsest map.

    Args:
        decoder: of transformers.
    """

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return self.decoder(list(maps)).last_hidden_state, maps[-1]


class MaskFormerQueries(nn.Module):
    """Queries of a DETR decoder.

    Args:
        transformer: of transformers.
        mask_embedder: queries -> mask embeddings.
        predictor: the classifier, K + 1 classes.
        all_layers: give what all decoder layers predict in training, and not the last one alone.
    """

    def __init__(
        self,
        transformer: nn.Module,
        mask_embedder: nn.Module,
        predictor: nn.Module,
        all_layers: bool,
    ):
        super().__init__()
        self.transformer = transformer
        self.mask_embedder = mask_embedder
        self.predictor = predictor
        self.all_layers = all_layers

    def forward(self, mask_features: Tensor, attended: Tensor) -> list[Layer]:
        every = self.all_layers and self.training
        decoded = self.transformer(attended, output_hidden_states=every, return_dict=True)
        layers = decoded.hidden_states if every else [decoded.last_hidden_state]
        return [
            (
                torch.einsum("nqc,nchw->nqhw", self.mask_embedder(queries), mask_features),
                self.predictor(queries),
            )
            for queries in layers
        ]
