"""Any net as the parts of a video segmentor, by what is known of its library."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..core.wrapping import take_apart
from . import huggingface, smp

Parts = tuple[nn.Module, nn.Module, Any]


def take_net_apart(
    net: nn.Module,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    *,
    processor: Any = None,
    loss: Any = None,
    **options: Any,
) -> tuple[Parts, dict[str, Any]]:
    """A net as the parts of ``ClipSegmentor``.

    Args:
        net: of any library.
        classifier, num_classes: as of ``take_apart``; mask classification has no classifier.
        processor: of a model of transformers, what makes images ready for it.
        loss: as of ``take_apart``; of segmentation_models_pytorch's nets, also the name of one of
            its losses.
        options: ``size_divisibility``, ``image_size``, ``ignore_value``, ``upsampling`` of
            ``take_apart``; ``task_inputs`` of OneFormer.

    Returns:
        backbone, head and its ``HeadEmbedding``; and what the library says of images, as arguments
        of ``assemble_segmentor``.

    Raises:
        ValueError: it can't be taken apart; the error says why, or what to pass.
    """
    if huggingface.is_model(net):
        known = huggingface.images_of(processor)
        parts = huggingface.take_model_apart(
            net, classifier, num_classes, processor=processor, loss=loss, **options
        )
        return parts, known
    if processor is not None:
        raise ValueError(f"processor is for models of transformers; got a {type(net).__name__}")
    known = {}
    if smp.is_net(net):
        known = smp.images_of(net)
        if isinstance(loss, str):
            loss = smp.loss_of(loss, net, options.get("ignore_value", 255))
    if isinstance(loss, str):
        raise ValueError(
            f"loss={loss!r}: only segmentation_models_pytorch's losses have names, for its own "
            "nets; pass a function of logits (N, K, H, W) and labels (N, H, W)"
        )
    return take_apart(net, classifier, num_classes, loss=loss, **options), known
