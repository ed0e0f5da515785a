"""Any image segmentor as a backbone and a head, taken apart where it classifies.

What enters the layer that classifies is the embedding; what follows it, a resize and maybe a
sigmoid, is found out by comparing on images of several sizes, as is what sides are to be padded to.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .label_maps import Upsampling
from .probing import (
    LAYERS,
    AfterClassifier,
    Probe,
    cells_of,
    freeze_what_is_not_used,
    probe,
    what_follows,
)
from .size_rules import first_size
from .strides import in_words, stride_of
from .tapping import Classifiers, Loss, TappedNet, WrappedEmbedding

logger = logging.getLogger(__name__)


def take_apart(
    net: nn.Module,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    *,
    size_divisibility: int | None = None,
    image_size: int | None = None,
    upsampling: Upsampling | None = None,
    ignore_value: int = 255,
    loss: Loss | None = None,
) -> tuple[TappedNet, Classifiers, WrappedEmbedding]:
    """A net as the parts of ``ClipSegmentor``.

    Parameters that the logits are not made with, such as those of auxiliary classifiers, are
    without gradient from then on.

    Args:
        net: images (N, 3, H, W) to logits (N, K, H', W'): a tensor, a mapping with "out" or
            "logits", an object with ``logits``, or a tuple that begins with one of these.
        classifier: name of the submodule whose result is the logits before they are resized;
            several whose results are added up. By default it is found: a convolution or linear map
            with K outputs, the last one that fits.
        num_classes: K, where ``net`` gives more or fewer channels of something else. One logit is
            two classes.
        size_divisibility: what the sides of images must be multiples of, 0 for any; by default the
            smallest of ``UNITS`` with which the cells cover the image.
        image_size: the side of the square that ``net`` takes, where it takes no other; by default
            what its parts or its config call their image's size, where no other is taken.
        upsampling: how logits come to the size of the image where ``net`` leaves that to others;
            by default by their stride, corners not aligned.
        ignore_value: label of pixels without a class.
        loss: see ``Classifiers``.

    Raises:
        ValueError: no classifier was found, or what follows it is not a resize; the error says what
            to pass.
    """
    names = [classifier] if isinstance(classifier, str) else classifier
    _check_names(net, names)

    def look(sizes: Sequence[tuple[int, int]]) -> _Found:
        probes = [probe(net, size, names) for size in sizes]
        if names is None:
            return _find(net, probes, num_classes or probes[0].logits.shape[1])
        found = _confirmed(net, probes, names)
        if found is None:
            raise _other_things_follow(net, names)
        return found

    found, unit, side = first_size(net, look, size_divisibility, image_size)
    if upsampling is None or not _leaves_resize_to_others(found):
        upsampling = found.follows.upsampling
    backbone = TappedNet(net, found.names, unit, side)
    head = _classifiers(net, found, upsampling, ignore_value, loss)

    def logits_of(images: Tensor) -> list[Tensor]:
        return [head.classify(*head.embed(backbone(images)))]

    freeze_what_is_not_used(net, found.probes[-1].size, logits_of)
    return backbone, head, WrappedEmbedding(head, backbone, upsampling)


@dataclass(frozen=True)
class _Found:
    names: Sequence[str]
    probes: list[Probe]
    follows: AfterClassifier


def _classifiers(
    net: nn.Module, found: _Found, upsampling: Upsampling, ignore_value: int, loss: Loss | None
) -> Classifiers:
    last = found.probes[-1]
    if found.follows.activation:
        logger.info(
            "%s ends in a %s; the video segmentor gives the logits before it",
            type(net).__name__,
            found.follows.activation,
        )
    stride = stride_of(cells_of(found.probes, found.names))
    assert stride is not None  # something fits
    return Classifiers(
        [net.get_submodule(name) for name in found.names],
        [last.widths[name] for name in found.names],
        stride=stride,
        num_outputs=last.logits.shape[1],
        upsampling=upsampling,
        ignore_value=ignore_value,
        loss=loss,
    )


def _check_names(net: nn.Module, names: Sequence[str] | None) -> None:
    modules = dict(net.named_modules())
    if names is not None and any(name not in modules for name in names):
        known = [name for name, module in modules.items() if isinstance(module, LAYERS)]
        raise ValueError(
            f"classifier {', '.join(names)}: {type(net).__name__} has no such submodule. Its last "
            f"convolutions and linear maps are {', '.join(known[-5:])}"
        )


def _confirmed(net: nn.Module, probes: Sequence[Probe], names: Sequence[str]) -> _Found | None:
    """Layers, and what follows them, where they classify."""
    if not what_follows(probes, names):
        return None
    again = [probe(net, each.size, names, with_noise=True) for each in probes]
    follows = what_follows(again, names)
    return _Found(names, again, follows[0]) if follows else None


def _find(net: nn.Module, probes: Sequence[Probe], num_outputs: int) -> _Found:
    """The layer, or the two that are added up, whose result becomes the net's logits."""
    fitting = [
        name
        for name, result in probes[0].results.items()
        if result.dim() == 4 and result.shape[1] == num_outputs
    ]
    last_first = fitting[::-1]
    pairs = [[b, a] for i, a in enumerate(last_first) for b in last_first[i + 1 :]]
    for names in [*([name] for name in last_first), *pairs]:
        confirmed = _confirmed(net, probes, names)
        if confirmed is not None:
            return confirmed
    found = "; ".join(
        f"{name} makes {in_words(cells)}" if (cells := cells_of(probes, [name])) else name
        for name in last_first
    )
    raise ValueError(
        f"No layer with {num_outputs} outputs gives what becomes the logits by a bilinear resize "
        f"({found or 'there is none'}). Pass classifier=..., the name of the submodule whose "
        "result is the logits before they are resized; and leave out of the net what comes after, "
        "but for a resize and a sigmoid or softmax: nothing with weights or buffers. Cells must be "
        "a whole number of pixels wide and cover the image: size_divisibility=... is what sides "
        "are padded to."
    )


def _other_things_follow(net: nn.Module, names: Sequence[str]) -> ValueError:
    return ValueError(
        f"{type(net).__name__}: what follows {' + '.join(names)} is not one bilinear resize of "
        "its result, to a whole multiple or to the image's size, with corners aligned or not, "
        "and maybe a sigmoid or softmax. Nothing with weights or buffers may come after it, such "
        "as a batch norm. Wrap a module that gives logits and nothing after them; name another "
        "classifier; or pass size_divisibility=..., what sides are padded to, so that its cells "
        "cover the image."
    )


def _leaves_resize_to_others(found: _Found) -> bool:
    coarse = found.probes[0].sum_of(found.names)
    return coarse is not None and found.probes[0].logits.shape == coarse.shape
