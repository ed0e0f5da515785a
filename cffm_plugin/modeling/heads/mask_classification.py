"""Heads of mask classification, as MaskFormer and Mask2Former have them in Detectron2."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from ...core.head_embedding import Features, HeadEmbedding
from ...core.mask_prediction import MaskPrediction
from ...core.mask_targets import labelled_frames, masks_of_classes
from ...core.nested import map_tensors


class NoClassesError(ValueError):
    """A predictor gives a mask for every class, and no classes of queries: its masks are logits."""


@dataclass(frozen=True)
class MaskCriterion:
    """The losses of a meta-architecture in the way of ``MaskFormer``.

    Attributes:
        module: called with outputs (a dict of ``pred_logits``, ``pred_masks`` and maybe
            ``aux_outputs``) and targets; it returns losses by name, and its ``weight_dict`` has the
            weights of those that count.
        prepare_targets: makes the criterion's targets of ``Instances``, with ``gt_classes`` (M,)
            and ``gt_masks`` (M, H, W), and an ``ImageList``.
    """

    module: nn.Module
    prepare_targets: Callable[[list[Instances], ImageList], list[Any]]

    def __call__(
        self, outputs: Mapping[str, Any], labels: Tensor, ignore_value: int
    ) -> dict[str, Tensor]:
        """The weighted losses of N frames; ``labels`` (N, H, W) int64.

        Frames of void count nowhere. Where there is nothing else the criterion is called all the
        same, with no masks: its losses have names, and it may count the masks of all processes.
        """
        frames, scale = labelled_frames(labels, ignore_value)
        if len(frames) < len(labels):
            outputs, labels = map_tensors(outputs, lambda of: of[frames]), labels[frames]
        try:
            losses = self._losses(outputs, labels, ignore_value)
        except (RuntimeError, ValueError, IndexError):
            if scale:
                raise
            # A criterion that takes no frame without a mask.
            losses = self._losses(outputs, torch.zeros_like(labels), ignore_value)
        weights: Any = self.module.weight_dict
        return {
            name: scale * weights[name] * loss for name, loss in losses.items() if name in weights
        }

    def _losses(
        self, outputs: Mapping[str, Any], labels: Tensor, ignore_value: int
    ) -> dict[str, Tensor]:
        size = (labels.shape[1], labels.shape[2])
        images = ImageList(labels[:, None], [size] * len(labels))
        targets = self.prepare_targets([_instances(of, ignore_value) for of in labels], images)
        return self.module(dict(outputs), targets)


def _instances(labels: Tensor, ignore_value: int) -> Instances:
    classes, masks = masks_of_classes(labels, ignore_value)
    return Instances((labels.shape[0], labels.shape[1]), gt_classes=classes, gt_masks=masks)


class MaskClassificationEmbedding(HeadEmbedding):
    """Heads with a ``pixel_decoder`` and a transformer ``predictor``.

    ``pixel_decoder.forward_features(features)`` gives mask features, the transformer encoder's
    features and, in Mask2Former, multi-scale features; ``predictor(attended, mask_features)`` gives
    ``pred_logits`` (N, Q, K + 1), ``pred_masks`` (N, Q, h, w) and ``aux_outputs``. Which features
    the queries attend to is ``transformer_in_feature``, by default the multi-scale features.

    The mask features are the embedding, and what the queries attend to is the context: the
    predictor meets refined mask features just as it meets the head's own.

    Args:
        head, backbone, image_channels: as of ``HeadEmbedding``.
        criterion: what the head is trained with; None for the cross entropy of the semantic map.
        frozen: the head is not trained, and what looks at it is by the cross entropy.
        resize_first: see ``MaskPrediction``.

    Raises:
        NoClassesError: as in MaskFormer's PerPixelBaselinePlusHead.
        ValueError: its parts are called with other things, or give others, as those of OneFormer
            and MaskDINO; what to do is said.
    """

    offers = "pixel_decoder and predictor"

    def __init__(
        self,
        head: Any,
        backbone: nn.Module,
        image_channels: int = 3,
        *,
        criterion: MaskCriterion | None = None,
        frozen: bool = False,
        resize_first: bool = False,
    ):
        self.criterion = criterion
        self.frozen = frozen
        self.resize_first = resize_first
        self.head = head
        self._check_call("pixel_decoder.forward_features", ["features"])
        self._check_call("predictor.forward", ["context", "mask_features"])
        super().__init__(head, backbone, image_channels)
        self.kind = MaskPrediction

    @staticmethod
    def fits(head: Any) -> bool:
        """Whether a head is built so, be it in this way or in another."""
        decoder = getattr(head, "pixel_decoder", None)
        predictor = getattr(head, "predictor", None)
        return (
            callable(getattr(decoder, "forward_features", None))
            and isinstance(predictor, nn.Module)
            and not isinstance(predictor, nn.Conv2d)
        )

    def _check_call(self, name: str, given: list[str]) -> None:
        part, _, method = name.partition(".")
        signature = inspect.signature(getattr(getattr(self.head, part), method))
        try:
            signature.bind(*given)
        except TypeError:
            expected = f"({', '.join(given)})"
            raise self._unexpected(f"its {name} takes {signature}", expected) from None

    def _unexpected(self, what: str, expected: str) -> ValueError:
        return ValueError(
            f"{type(self.head).__name__} can't be wrapped as MaskFormer's and Mask2Former's heads "
            f"are: {what}, theirs {expected}. Give it, in a subclass that "
            "MODEL.SEM_SEG_HEAD.NAME names, embed(features) -> (mask features, context) and "
            "classify(embedding, context) -> MaskPrediction, with gives_logits = False: "
            'docs/wrap-your-segmenter.md, "Other heads with queries".'
        )

    def embed(self, features: Features) -> tuple[Tensor, Any]:
        decoded = self.head.pixel_decoder.forward_features(features)
        if not isinstance(decoded, (tuple, list)) or len(decoded) not in (2, 3):
            many = len(decoded) if isinstance(decoded, (tuple, list)) else "no tuple of"
            raise self._unexpected(
                f"its pixel_decoder.forward_features gives {many} results", "2 or 3"
            )
        mask_features, encoder_features, *multi_scale = decoded
        attended = getattr(self.head, "transformer_in_feature", "multi_scale_pixel_decoder")
        if attended == "multi_scale_pixel_decoder":
            (context,) = multi_scale
        elif attended == "transformer_encoder":
            context = encoder_features
        elif attended == "pixel_embedding":
            context = mask_features
        else:
            context = features[attended]
        return mask_features, context

    def classify(self, embedding: Tensor, context: Any) -> MaskPrediction:
        return self.prediction(self.head.predictor(context, embedding))

    def prediction(self, outputs: Mapping[str, Any]) -> MaskPrediction:
        """What the predictor gives, or the head's ``forward``."""
        if not isinstance(outputs, Mapping) or not {"pred_masks", "pred_logits"} <= outputs.keys():
            if isinstance(outputs, Mapping) and "pred_masks" in outputs:
                raise NoClassesError(f"{type(self.head).__name__} gives no pred_logits")
            got = list(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise self._unexpected(f"its predictor gives {got}", "pred_masks and pred_logits")
        return MaskPrediction(
            outputs["pred_masks"],
            outputs["pred_logits"],
            outputs.get("aux_outputs", []),
            resize_first=self.resize_first,
        )

    def _has_losses(self) -> bool:
        return self.criterion is not None and not self.frozen

    def _own_losses(self, prediction: MaskPrediction, labels: Tensor) -> dict[str, Tensor]:
        assert self.criterion is not None
        outputs = {"pred_logits": prediction.classes, "pred_masks": prediction.masks}
        if prediction.auxiliary:
            outputs["aux_outputs"] = prediction.auxiliary
        return self.criterion(outputs, labels, self.ignore_value)

    def _stated_sizes(self) -> tuple[int | None, int | None, int | None]:
        return None, None, getattr(self.head, "num_classes", None)


def criterion_of(architecture: Any) -> MaskCriterion | None:
    """That of a meta-architecture which has ``criterion`` and ``prepare_targets``."""
    criterion = getattr(architecture, "criterion", None)
    prepare_targets = getattr(architecture, "prepare_targets", None)
    if not isinstance(criterion, nn.Module) or not callable(prepare_targets):
        return None
    return MaskCriterion(criterion, prepare_targets)
