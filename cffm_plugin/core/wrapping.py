"""Any image segmentor as a backbone and a head, taken apart where it classifies.

What enters the layer that classifies is the embedding; what follows it, a resize, is found out by
comparing on images of several sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .encoded import size_of
from .head_embedding import HeadEmbedding, evaluating
from .label_maps import AFTER_CLASSIFIER, Upsampling
from .strides import sizes_to_measure, stride_of

LAYERS = (nn.Conv2d, nn.Linear)
TOLERANCE = 1e-4  # of the largest logit
_NAMED = ("out", "logits", "sem_seg")  # where libraries keep logits in a mapping


class TappedNet(nn.Module):
    """A net as a backbone: the feature map "embedding" is what enters its classifiers.

    Args:
        net: images (N, 3, H, W) to logits.
        classifiers: names of its layers that classify: one, or several of which it adds up what
            they give, as LR-ASPP does. Their inputs are concatenated.
        size_divisibility: what images are padded to a multiple of; 0 for none.
    """

    def __init__(self, net: nn.Module, classifiers: Sequence[str], size_divisibility: int = 0):
        super().__init__()
        self.net = net
        self.size_divisibility = size_divisibility
        self._names = tuple(classifiers)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        hooks = [  # of this call alone, so that copies and threads have their own
            self.net.get_submodule(name).register_forward_pre_hook(
                lambda _, args, name=name: found.update({name: args[0]})
            )
            for name in self._names
        ]
        try:
            self.net(images)
        finally:
            for hook in hooks:
                hook.remove()
        given = [found[name] for name in self._names]
        return {"embedding": torch.cat(given, dim=1) if len(given) > 1 else given[0]}


class Classifiers(nn.Module):
    """The layers of a net that classify, as a head; their weights are the net's.

    Each takes its part of the channels; what they give is added up.
    """

    def __init__(self, layers: Sequence[nn.Module], num_classes: int, ignore_value: int = 255):
        super().__init__()
        self._layers = (*layers,)  # a tuple, so that the weights have one name
        self.num_classes = num_classes
        self.ignore_value = ignore_value

    def embed(self, features: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        return features["embedding"], None

    def classify(self, embedding: Tensor, context: Any) -> Tensor:
        if len(self._layers) == 1:
            return self._layers[0](embedding)
        widths = [_channels_of(layer) for layer in self._layers]
        parts = embedding.split(widths, dim=1)
        return torch.stack([layer(part) for layer, part in zip(self._layers, parts)]).sum(dim=0)


class WrappedEmbedding(HeadEmbedding):
    """The embedding of a net that was taken apart, and the resize that follows its classifier."""

    is_forward = True  # it was compared when it was wrapped

    def __init__(self, head: Classifiers, backbone: TappedNet, upsampling: Upsampling):
        super().__init__(head, backbone)
        self.upsampling = upsampling

    @property
    def is_plain(self) -> bool:
        return False  # the head has no forward of its own


def take_apart(
    net: nn.Module,
    classifier: str | Sequence[str] | None = None,
    num_classes: int | None = None,
    *,
    size_divisibility: int = 0,
    ignore_value: int = 255,
) -> tuple[TappedNet, Classifiers, WrappedEmbedding]:
    """A net as the parts of ``ClipSegmentor``.

    Args:
        net: images (N, 3, H, W) to logits (N, K, H', W'): a tensor, a mapping with "out" or
            "logits", an object with ``logits``, or a tuple that begins with one of these.
        classifier: name of the submodule whose result is the logits before they are resized;
            several whose results are added up. By default it is found: a convolution or linear map
            with K outputs, the last one that fits.
        num_classes: K, where ``net`` gives more or fewer channels of something else.
        size_divisibility: what the sides of images must be multiples of; 0 for any.
        ignore_value: label of pixels without a class.

    Raises:
        ValueError: no classifier was found, or what follows it is not a resize; the error says what
            to pass.
    """
    names = [classifier] if isinstance(classifier, str) else classifier
    probes = [_probe(net, size, names) for size in sizes_to_measure(size_divisibility)]
    num_classes = num_classes or probes[0].logits.shape[1]
    if names is None:
        names = _find(probes, num_classes)
    fitting = _what_follows(net, probes, names)
    stride = stride_of(_cells_of(probes, names))
    assert stride is not None  # something fits
    upsampling = _upsampling_of_any_size(net, fitting, names, stride, max(1, size_divisibility))
    layers = [net.get_submodule(name) for name in names]
    backbone = TappedNet(net, names, size_divisibility)
    head = Classifiers(layers, num_classes, ignore_value)
    return backbone, head, WrappedEmbedding(head, backbone, upsampling)


@dataclass(frozen=True)
class _Probe:
    """What a net makes of one image: its logits, and the results of layers that may classify."""

    size: tuple[int, int]
    logits: Tensor
    results: dict[str, Any]  # name of a layer -> what its last call gave

    def sum_of(self, names: Sequence[str]) -> Tensor | None:
        """What layers give, added up; None where they don't fit."""
        if any(name not in self.results for name in names):
            return None
        chosen = [self.results[name] for name in names]
        if not all(isinstance(r, Tensor) and r.dim() == 4 for r in chosen):
            return None
        if any(r.shape != chosen[0].shape for r in chosen):
            return None
        return torch.stack(chosen).sum(dim=0)


@torch.no_grad()
def _probe(net: nn.Module, size: tuple[int, int], names: Sequence[str] | None) -> _Probe:
    results: dict[str, Any] = {}
    hooks = []
    for name, module in net.named_modules():
        if (names is None and isinstance(module, LAYERS)) or (names is not None and name in names):
            hooks.append(
                module.register_forward_hook(
                    lambda _, args, out, name=name: results.update({name: out})
                )
            )
    if names is not None and len(hooks) < len(names):
        known = [n for n, m in net.named_modules() if isinstance(m, LAYERS)]
        for hook in hooks:
            hook.remove()
        raise ValueError(
            f"classifier {', '.join(names)}: {type(net).__name__} has no such submodule. Its last "
            f"convolutions and linear maps are {', '.join(known[-5:])}"
        )
    parameter = next(net.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator).to(parameter)
    try:
        with evaluating(net):
            logits = logits_of(net(image))
    finally:
        for hook in hooks:
            hook.remove()
    return _Probe(size, logits, results)


def logits_of(output: Any) -> Tensor:
    """The logits (N, K, H, W) in what a segmentor gives.

    Raises:
        ValueError: there are none.
    """
    if isinstance(output, Tensor) and output.dim() == 4:
        return output
    for name in _NAMED:
        inside = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if inside is not None:
            return logits_of(inside)
    if isinstance(output, tuple | list) and output:
        return logits_of(output[0])
    kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(
        f"The net gives {kind}; expected logits (N, K, H, W), or a mapping, an object or a tuple "
        f"that holds them ({', '.join(_NAMED)}). Wrap a module whose forward gives its logits."
    )


def _find(probes: Sequence[_Probe], num_classes: int) -> list[str]:
    """The layer, or the two that are added up, whose result becomes the net's logits."""
    fitting = [
        name
        for name, result in probes[0].results.items()
        if result.dim() == 4 and result.shape[1] == num_classes
    ]
    last_first = fitting[::-1]
    pairs = [[b, a] for i, a in enumerate(last_first) for b in last_first[i + 1 :]]
    for names in [*([name] for name in last_first), *pairs]:
        if _upsampling_of(probes, names):
            return names
    found = f"found {', '.join(last_first)}" if last_first else "found none"
    raise ValueError(
        f"No layer with {num_classes} outputs gives what becomes the logits by a bilinear resize "
        f"({found}). Pass classifier=..., the name of the submodule whose result is the logits "
        "before they are resized; and leave out of the net what comes after, but for a resize."
    )


def _what_follows(
    net: nn.Module, probes: Sequence[_Probe], names: Sequence[str]
) -> list[Upsampling]:
    fitting = _upsampling_of(probes, names)
    if not fitting:
        raise ValueError(
            f"{type(net).__name__}: what follows {' + '.join(names)} is not one bilinear resize of "
            "its result, to a whole multiple or to the image's size, with corners aligned or not. "
            "Wrap a module that gives logits and nothing after them; or name another classifier."
        )
    return fitting


def _upsampling_of_any_size(
    net: nn.Module, fitting: list[Upsampling], names: Sequence[str], stride: int, unit: int
) -> Upsampling:
    """Which of several resizes it is, by an image that is no multiple of the stride."""
    size = (75 * unit, 101 * unit) if unit <= 8 else (3 * unit, 5 * unit)
    try:
        probe = _probe(net, size, names)
    except (RuntimeError, ValueError, AssertionError):
        found = []
    else:
        found = _upsampling_of([probe], names, stride)
    both = [upsampling for upsampling in fitting if upsampling in found]
    if not both:
        raise ValueError(
            f"{type(net).__name__} does not take images of {size[0]}x{size[1]} pixels as it takes "
            "others: its cells don't cover them, or it raises. Say what sides are to be padded to "
            "multiples of, such as its stride: size_divisibility=32"
        )
    return both[0]


def _cells_of(probes: Sequence[_Probe], names: Sequence[str]) -> dict[int, int]:
    """Side in pixels -> cells of the classifiers' result; {} where there is none."""
    cells: dict[int, int] = {}
    for probe in probes:
        coarse = probe.sum_of(names)
        if coarse is None:
            return {}
        cells.update(zip(probe.size, coarse.shape[-2:]))
    return cells


def _upsampling_of(
    probes: Sequence[_Probe], names: Sequence[str], stride: int | None = None
) -> list[Upsampling]:
    """What may make the net's logits of the classifiers' result, on every image.

    Args:
        stride: of that result; by default measured.
    """
    cells = _cells_of(probes, names)
    if not cells:
        return []
    stride = stride or stride_of(cells)
    if stride is None or any(-(-side // stride) != n for side, n in cells.items()):
        return []
    return [u for u in AFTER_CLASSIFIER if all(_is(u, probe, names, stride) for probe in probes)]


def _is(upsampling: Upsampling, probe: _Probe, names: Sequence[str], stride: int) -> bool:
    coarse, logits = probe.sum_of(names), probe.logits
    assert coarse is not None
    if logits.shape == coarse.shape:  # the net leaves the resize to others: ours is torch's default
        ours = coarse
    else:
        size = upsampling.size(size_of(coarse), stride, probe.size)
        if tuple(logits.shape[-2:]) != size:
            return False
        ours = upsampling.resize(coarse, size)
    largest = float(logits.abs().max().clamp(min=1e-6))
    return float((ours - logits).abs().max()) <= TOLERANCE * largest


def _channels_of(layer: Any) -> int:
    return layer.in_channels if hasattr(layer, "in_channels") else layer.in_features
