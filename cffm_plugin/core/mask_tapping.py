"""A net of mask classification that stays whole as a backbone and a head.

Its masks are products: of a map of mask features, and of one mask embedding for every query. The
map is the embedding, which a temporal module refines; the queries are the context.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .encoded import size_of
from .head_embedding import evaluating, hooked
from .losses import pixel_cross_entropy
from .mask_prediction import MaskPrediction
from .nested import tensors_in
from .probing import TOLERANCE, freeze_what_is_not_used, noise
from .size_rules import SizeError, first_size, say_size
from .strides import stride_of
from .tapping import TappedEmbedding

# A prediction of N frames and labels (N, H, W) -> losses by name.
MaskLoss = Callable[[MaskPrediction, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class MaskParts:
    """Where a net of mask classification is taken apart: names of its submodules.

    Attributes:
        features: gives the mask features (N, C, h, w).
        queries: gives the mask embeddings (N, Q, C); in every decoder layer, or (L, N, Q, C) of
            all L at once.
        classes: gives (N, Q, K + 1) logits, the last for "no object", in the same way.
        mask_size: see ``MaskPrediction``.
    """

    features: str
    queries: str
    classes: str
    mask_size: Any = "image"


class TappedMaskNet(nn.Module):
    """A net of mask classification as a backbone, see ``MaskParts``.

    Args:
        net: images (N, 3, H, W) -> anything.
        parts: of it.
        size_divisibility, image_size: as of ``TappedNet``.
    """

    def __init__(
        self,
        net: nn.Module,
        parts: MaskParts,
        size_divisibility: int = 0,
        image_size: int | None = None,
    ):
        super().__init__()
        self.net = net
        self.parts = parts
        self.size_divisibility = size_divisibility
        self.padding_constraints = {"square_size": image_size} if image_size else {}

    def forward(self, images: Tensor) -> dict[str, Any]:
        """
        Returns:
            "embedding", (N, C, h, w); "queries", (N, Q, C); "classes", (N, Q, K + 1); and in
            training "earlier", masks and classes of earlier decoder layers.
        """
        return self.tap(images)[1]

    def tap(self, images: Tensor) -> tuple[Any, dict[str, Any]]:
        """What the net gives, and what ``forward`` does."""
        given: dict[str, list[Tensor]] = {"features": [], "queries": [], "classes": []}
        hooks = [
            self.net.get_submodule(getattr(self.parts, kind)).register_forward_hook(
                lambda _, args, out, kind=kind: given[kind].extend(_layers(out, kind))
            )
            for kind in given
        ]
        with hooked(hooks):
            output = self.net(images)
        features, queries, classes = given["features"], given["queries"], given["classes"]
        found: dict[str, Any] = {
            "embedding": features[-1],
            "queries": queries[-1],
            "classes": classes[-1],
        }
        if self.training:  # one map for all layers, or one for each
            maps = features if len(features) == len(queries) else [features[-1]] * len(queries)
            layers = list(zip(maps, queries, classes))[:-1] if len(queries) == len(classes) else []
            found["earlier"] = [(masks_of(q, f), c) for f, q, c in layers]
        return output, found


def _layers(out: Tensor, kind: str) -> list[Tensor]:
    return list(out.unbind()) if kind != "features" and out.dim() == 4 else [out]


def masks_of(queries: Tensor, features: Tensor) -> Tensor:
    """Mask embeddings (N, Q, C) and mask features (N, C, h, w) -> logits (N, Q, h, w)."""
    return torch.einsum("nqc,nchw->nqhw", queries, features)


class MaskClassifier(nn.Module):
    """The product of queries and mask features as a head; it has no weights of its own.

    Args:
        parts: of the net.
        channels, stride: of the mask features.
        num_classes: K.
        ignore_value: label of pixels without a class.
        loss: what the net trains with; by default the cross entropy of the semantic map.
    """

    gives_logits = False

    def __init__(
        self,
        parts: MaskParts,
        *,
        channels: int,
        stride: int,
        num_classes: int,
        ignore_value: int = 255,
        loss: MaskLoss | None = None,
    ):
        super().__init__()
        self._mask_size = parts.mask_size
        self._loss = (loss,)  # a tuple: a criterion's buffers are the net's
        self.embedding_channels = channels
        self.embedding_stride = stride
        self.num_classes = num_classes
        self.ignore_value = ignore_value

    def embed(self, features: Mapping[str, Any]) -> tuple[Tensor, Any]:
        context = {name: value for name, value in features.items() if name != "embedding"}
        return features["embedding"], context

    def classify(self, embedding: Tensor, context: Mapping[str, Any]) -> MaskPrediction:
        masks = masks_of(context["queries"], embedding)
        earlier = context.get("earlier", [])
        return MaskPrediction(masks, context["classes"], earlier, mask_size=self._mask_size)

    def losses(self, prediction: MaskPrediction, labels: Tensor) -> dict[str, Tensor]:
        """
        Args:
            prediction: of N frames.
            labels: (N, H, W) int64, classes or ``ignore_value``.
        """
        (loss,) = self._loss
        if loss is not None:
            return loss(prediction, labels)
        logits = prediction.logits()
        return {"loss_sem_seg": pixel_cross_entropy(logits, labels, self.ignore_value)}


def take_masks_apart(
    net: nn.Module,
    parts: MaskParts,
    prediction_of: Callable[[Any], tuple[Tensor, Tensor]],
    *,
    size_divisibility: int | None = None,
    image_size: int | None = None,
    ignore_value: int = 255,
    loss: MaskLoss | None = None,
) -> tuple[TappedMaskNet, MaskClassifier, TappedEmbedding]:
    """A net of mask classification as the parts of ``ClipSegmentor``.

    Args:
        net: images (N, 3, H, W) -> an output.
        parts: where it is taken apart.
        prediction_of: an output -> its masks (N, Q, h, w) and classes (N, Q, K + 1), with which
            the product of the parts is compared.
        size_divisibility, image_size: as of ``take_apart``.
        ignore_value: label of pixels without a class.
        loss: see ``MaskClassifier``.

    Raises:
        ValueError: it takes no image that was tried, or its masks are another product.
    """
    tapped = TappedMaskNet(net, parts)

    def look(sizes: Sequence[tuple[int, int]]) -> tuple[int, dict[str, Any], tuple[int, int]]:
        return *_look(tapped, sizes, prediction_of), sizes[-1]

    (stride, found, size), unit, side = first_size(net, look, size_divisibility, image_size)
    head = MaskClassifier(
        parts,
        channels=found["embedding"].shape[1],
        stride=stride,
        num_classes=found["classes"].shape[2] - 1,
        ignore_value=ignore_value,
        loss=loss,
    )
    freeze_what_is_not_used(net, size, lambda images: list(tensors_in(tapped(images))))
    backbone = TappedMaskNet(net, parts, unit, side)
    return backbone, head, TappedEmbedding(head, backbone)


@torch.no_grad()
def _look(
    tapped: TappedMaskNet,
    sizes: Sequence[tuple[int, int]],
    prediction_of: Callable[[Any], tuple[Tensor, Tensor]],
) -> tuple[int, dict[str, Any]]:
    """The stride of the mask features, and what was found, on images of several sizes."""
    cells: dict[int, int] = {}
    found: dict[str, Any] = {}
    name = type(tapped.net).__name__
    for size in sizes:
        with evaluating(tapped), say_size(tapped.net, size):
            output, found = tapped.tap(noise(tapped.net, size))
        masks, classes = prediction_of(output)
        ours = masks_of(found["queries"], found["embedding"])
        spread = float(masks.max() - masks.min())
        if masks.shape != ours.shape or float((masks - ours).abs().max()) > TOLERANCE * spread:
            raise ValueError(
                f"{name}: its masks are not the product of {tapped.parts.queries} and "
                f"{tapped.parts.features}, as in the version of the library that was looked at"
            )
        if not torch.equal(classes, found["classes"]):
            raise ValueError(f"{name}: its classes are not what {tapped.parts.classes} gives")
        cells.update(zip(size, size_of(found["embedding"])))
    stride = stride_of(cells)
    if stride is None:
        raise SizeError(f"{name}: its mask features have no whole number of pixels a cell")
    return stride, found
