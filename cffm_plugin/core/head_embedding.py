"""One contract over image heads: what a temporal module needs of a segmentor, whatever its head.

A head is seen as two steps, ``embed`` (feature maps to one embedding per pixel) and ``classify``
(embedding to logits). The temporal module refines the embedding between them.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from .label_maps import BY_STRIDE
from .losses import pixel_cross_entropy
from .mask_prediction import kind_of
from .prediction import Prediction, as_prediction
from .strides import HOW_TO_DIVIDE, in_words, sizes_to_measure, stride_of

Features = Mapping[str, Tensor]

logger = logging.getLogger(__name__)


class HeadEmbedding:
    """A head that offers the contract itself; the other families are subclasses.

    Such a head has
        ``embed(features) -> (embedding, context)``: the backbone's feature maps to embeddings
        (N, C, h, w), and what else of the frames ``classify`` needs, such as the queries of mask
        classification: None, or tensors with the frames as their first dimension, in any container;
        ``classify(embedding, context) -> logits`` (N, K, h, w); or a ``MaskPrediction``, for mask
        classification, and then the head says ``gives_logits = False``.
    It may have
        ``losses(logits, labels) -> {name: loss}``: what it trains with, for what ``classify`` gives
        and labels (N, H, W) int64, ``ignore_value`` where there is no class. Without it the cross
        entropy over all pixels is taken. It need not mind batches of void, see ``defined_losses``;
        ``embedding_channels`` (C), ``embedding_stride`` (of the embedding and the logits relative
        to the image) and ``num_classes`` (K): measured where they are missing.

    Not a module, so that the head's parameters keep their names.

    Args:
        head: the head.
        backbone: what feeds it; to measure what the head does not state.
        image_channels: of the images that the backbone takes.

    Attributes:
        offers: the head's parts that are used, for messages.
        kind: of its predictions.
        size_divisibility: what images are padded to.
        smallest_side: in pixels, of images that the head certainly takes, see ``check_agreement``.
        agrees: whether ``ensure_agreement`` has been here.
        is_forward: whether the embedding is what ``forward`` gives, so that there is nothing to
            compare.
        criterion: what the head trains with, if it is a module of its own.
        upsampling: how its logits are brought to the size of the image.

    Raises:
        ValueError: cells are no whole number of pixels wide and high, or another one than stated.
    """

    offers = "embed and classify"
    smallest_side = 64
    agrees = False
    is_forward = False
    criterion: Any = None
    upsampling = BY_STRIDE

    def __init__(self, head: Any, backbone: Any, image_channels: int = 3):
        self.head = head
        self.kind = kind_of(head)
        self._padding_of_backbone: int = getattr(backbone, "size_divisibility", 0)
        self.size_divisibility = self._padding_of_backbone
        sizes: list[Any] = list(self._stated_sizes())
        if None in sizes:
            measured = self._measure(backbone, image_channels)
            sizes = [m if s is None else s for s, m in zip(sizes, measured)]
        self.channels, self.stride, self.num_classes = map(int, sizes)
        if self._stated_sizes()[1] is not None:
            self._check_stated_stride(backbone, image_channels)
        if not self._has_losses():
            logger.info(
                "%s has no losses(logits, labels): its logits and the temporal module's are "
                "trained with the cross entropy, averaged over all pixels",
                type(head).__name__,
            )

    @property
    def ignore_value(self) -> int:
        """Label of pixels without a class."""
        return getattr(self.head, "ignore_value", 255)

    @property
    def is_plain(self) -> bool:
        """Whether it is a head for ``SemanticSegmentor``: logits, of images that are padded to what
        the backbone asks for."""
        return not self.kind.is_map and self.size_divisibility == self._padding_of_backbone

    def embed(self, features: Features) -> tuple[Tensor, Any]:
        """Feature maps -> embeddings (N, C, h, w), and the frames' context."""
        return self.head.embed(features)

    def check_size(self, embedding: Tensor, padded_size: Sequence[int]) -> None:
        """
        Args:
            embedding: (N, C, h, w).
            padded_size: height and width of the images that it was made of.

        Raises:
            ValueError: its cells do not cover the images, so that the prediction would be
                stretched over them.
        """
        cells = embedding.shape[-2:]
        if any(self.stride * n < side for n, side in zip(cells, padded_size)):
            raise ValueError(
                f"{type(self.head).__name__} makes {cells[0]}x{cells[1]} cells of an image of "
                f"{padded_size[0]}x{padded_size[1]} pixels: too few at its stride of "
                f"{self.stride}. {HOW_TO_DIVIDE}"
            )

    def classify(self, embedding: Tensor, context: Any) -> Any:
        """Embeddings (N, C, h, w) and their context -> logits (N, K, h, w), or a MaskPrediction."""
        return self.head.classify(embedding, context)

    def losses(self, prediction: Any, labels: Tensor) -> dict[str, Tensor]:
        """The head's own losses.

        Args:
            prediction: of ``classify``, or of logits (N, K, h, w) of the embedding's size.
            labels: (N, H, W) int64, classes or ``ignore_value``.
        """
        prediction = as_prediction(prediction)
        if not self._has_losses() or type(prediction) is not self.kind:
            return self._cross_entropy(prediction, labels)
        return self._own_losses(prediction.given, labels)

    def video_losses(self, prediction: Prediction, labels: Tensor) -> dict[str, Tensor]:
        """What trains a temporal module: the head's own losses of logits, and the cross entropy of
        a semantic map, from which it learns more than from mask classification's own losses.

        Args:
            prediction, labels: as of ``losses``.
        """
        if prediction.is_map:
            return self._cross_entropy(prediction, labels)
        return self.losses(prediction, labels)

    def image_losses(
        self, features: Features, embedding: Tensor, context: Any, labels: Tensor
    ) -> dict[str, Tensor]:
        """What the head trains with alone, on frames that are embedded already.

        Args:
            features, embedding, context: of N frames.
            labels: (N, H, W).
        """
        return self.losses(self.classify(embedding, context), labels)

    def losses_of_forward(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """What the head's own ``forward`` gives in training, as in ``SemanticSegmentor``.

        Args:
            features: of N frames.
            labels: (N, H, W).
        """
        return self._defined(lambda labels: self.head(features, labels)[1], labels)

    def _cross_entropy(self, prediction: Prediction, labels: Tensor) -> dict[str, Tensor]:
        loss = pixel_cross_entropy(prediction.logits(), labels, self.ignore_value)
        return {"loss_sem_seg": loss}

    def _has_losses(self) -> bool:
        return callable(getattr(self.head, "losses", None))

    def _own_losses(self, given: Any, labels: Tensor) -> dict[str, Tensor]:
        return self._defined(
            lambda labels: self.head.losses(given, self._fit_labels(given, labels)), labels
        )

    def _defined(
        self, losses_of: Callable[[Tensor], dict[str, Tensor]], labels: Tensor
    ) -> dict[str, Tensor]:
        return defined_losses(losses_of, labels, self.ignore_value, self.head)

    def _fit_labels(self, given: Any, labels: Tensor) -> Tensor:
        """The labels as the head's own losses expect them."""
        return labels

    def _stated_sizes(self) -> tuple[int | None, int | None, int | None]:
        """Channels, stride and classes, None for what the head does not state."""
        names = ("embedding_channels", "embedding_stride", "num_classes")
        channels, stride, num_classes = (getattr(self.head, name, None) for name in names)
        return channels, stride, num_classes

    def _check_stated_stride(self, backbone: Any, image_channels: int) -> None:
        """Or predictions would be stretched over the image."""
        try:
            cells, _, _ = self._run_on_blank_images(backbone, image_channels)
        except Exception:  # it takes no images as small as these; ``check_size`` sees every image
            return
        found = stride_of(cells)
        too_few = any(cells[side] < math.ceil(side / self.stride) for side in cells)
        if too_few or found not in (None, self.stride):
            raise ValueError(
                f"{type(self.head).__name__} states a stride of {self.stride} and makes "
                f"{in_words(cells)}. {HOW_TO_DIVIDE}"
            )

    def _measure(self, backbone: Any, image_channels: int) -> tuple[int, int, int]:
        """Channels, stride and classes, of blank images."""
        cells, channels, num_classes = self._run_on_blank_images(backbone, image_channels)
        stride = stride_of(cells)
        if stride is None:
            raise ValueError(
                f"{type(self.head).__name__} on {type(backbone).__name__} makes an embedding of "
                f"{in_words(cells)}. Expected a whole number of pixels a cell. {HOW_TO_DIVIDE}"
            )
        logger.info("%s: a stride of %d was measured", type(self.head).__name__, stride)
        return channels, stride, num_classes

    @torch.no_grad()
    def _run_on_blank_images(
        self, backbone: Any, image_channels: int
    ) -> tuple[dict[int, int], int, int]:
        """Side in pixels -> cells of its embedding; and the channels and classes."""
        parameter = next(iter([*backbone.parameters(), *self.head.parameters()]), None)
        device = None if parameter is None else parameter.device
        dtype = None if parameter is None else parameter.dtype
        cells: dict[int, int] = {}
        with evaluating(backbone, self.head):
            for size in sizes_to_measure(self.size_divisibility):
                blank = torch.zeros(1, image_channels, *size, device=device, dtype=dtype)
                # forward itself, so that hooks, and what is compiled, see frames alone
                embedding, context = self.embed(backbone.forward(blank))
                cells.update(zip(size, embedding.shape[-2:]))
            num_classes = as_prediction(self.classify(embedding, context)).logits().shape[1]
        return cells, embedding.shape[1], num_classes


@contextmanager
def hooked(hooks: Sequence[Any]) -> Iterator[None]:
    """With hooks of modules, which are removed afterwards: hooks of one call alone, so that copies
    and threads have their own."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every part is in the mode that it was in."""
    modes = {module: module.training for whole in modules for module in whole.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def defined_losses(
    losses_of: Callable[[Tensor], dict[str, Tensor]],
    labels: Tensor,
    ignore_value: int,
    head: nn.Module,
) -> dict[str, Tensor]:
    """A head's losses, with 0 for means over no pixel, which are NaN.

    All processes need losses of the same names, with gradients (of 0) for the same parameters. So
    what is undefined is computed once more with class 0 in place of void, and multiplied by 0: NaN
    comes out only where the prediction itself is not finite. In a batch without a labelled pixel
    that is all losses. In others it is those that look at few of the pixels, such as PointRend's
    points and auxiliary losses at a coarser stride, if all of these are void.

    Args:
        losses_of: labels (N, H, W) -> losses by name.
        labels: (N, H, W) int64, classes or ``ignore_value``.
        ignore_value: label of pixels without a class.
        head: its norms are in evaluation mode while it is asked a second time: statistics are taken
            once, and not in one process alone.
    """
    void = labels == ignore_value
    if bool(void.all()):
        return {name: 0.0 * loss for name, loss in losses_of(torch.zeros_like(labels)).items()}
    losses = losses_of(labels)
    if not losses:
        return losses
    is_nan = torch.stack([loss.detach().isnan().any() for loss in losses.values()]).tolist()
    undefined = [name for name, nan in zip(losses, is_nan) if nan]
    if undefined and bool(void.any()):
        with evaluating(*(module for module in head.modules() if isinstance(module, _NormBase))):
            of_class_0 = losses_of(torch.where(void, 0, labels))
        losses |= {name: 0.0 * of_class_0[name] for name in undefined}
    return losses
