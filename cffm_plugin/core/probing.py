"""What a net does to a few images: its logits, and what its layers give on the way."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .encoded import size_of
from .head_embedding import evaluating, hooked
from .label_maps import AFTER_CLASSIFIER, Upsampling
from .size_rules import say_size
from .strides import stride_of
from .tapping import channels_first

logger = logging.getLogger(__name__)

LAYERS = (nn.Conv2d, nn.Linear)
TOLERANCE = 1e-4  # of the range of the logits
_ROUNDING = 2e-6  # of the largest, in float32
_NAMED = ("out", "logits", "sem_seg")  # where libraries keep logits in a mapping
ACTIVATIONS = {
    "": lambda logits: logits,
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=1),
    "log_softmax": lambda logits: logits.log_softmax(dim=1),
}


@dataclass(frozen=True)
class AfterClassifier:
    """What a net does to what its classifier gives.

    Attributes:
        upsampling: it resizes it.
        activation: then comes this; a key of ``ACTIVATIONS``.
    """

    upsampling: Upsampling
    activation: str = ""


@dataclass(frozen=True)
class Probe:
    """What a net makes of one image.

    Attributes:
        size: of the image.
        logits: (1, K, H, W), what the net gives.
        results: name of a layer that may classify -> what its last call gave.
        widths: channels that went in.
    """

    size: tuple[int, int]
    logits: Tensor
    results: dict[str, Any]
    widths: dict[str, int]

    def sum_of(self, names: Sequence[str]) -> Tensor | None:
        """What layers give, added up; None where they don't fit."""
        if any(name not in self.results for name in names):
            return None
        chosen = [self.results[name] for name in names]
        if not all(isinstance(r, Tensor) and r.dim() == 4 for r in chosen):
            return None
        if any(r.shape != chosen[0].shape for r in chosen):
            return None
        return chosen[0] if len(chosen) == 1 else torch.stack(chosen).sum(dim=0)


@torch.no_grad()
def probe(
    net: nn.Module,
    size: tuple[int, int],
    names: Sequence[str] | None = None,
    with_noise: bool = False,
) -> Probe:
    """Run a net on noise, in evaluation mode.

    Args:
        net: images to logits.
        size: height and width.
        names: of submodules to look at; by default all that may classify.
        with_noise: they give noise, so that what follows them can be told whatever the weights:
            logits of a net that was not trained may hardly differ from pixel to pixel. So does
            every module with weights or buffers of its own that runs when all of them have: a batch
            norm that was not trained does nothing, and would be taken for nothing.

    Raises:
        SizeError: the net raises an error.
        ValueError: it gives no logits.
    """
    results: dict[str, Any] = {}
    widths: dict[str, int] = {}

    generator = torch.Generator().manual_seed(0)

    def random_like(out: Tensor) -> Tensor:
        return torch.randn(out.shape, generator=generator).to(out)

    def note(layer: nn.Module, name: str, args: Any, out: Any) -> Any:
        if not args or not isinstance(args[0], Tensor) or args[0].dim() != 4:
            return None
        if with_noise and isinstance(out, Tensor):
            out = random_like(out)
        results[name] = channels_first(layer, out) if isinstance(out, Tensor) else out
        widths[name] = channels_first(layer, args[0]).shape[1]
        return out

    hooks = [
        module.register_forward_hook(lambda of, args, out, name=name: note(of, name, args, out))
        for name, module in net.named_modules()
        if (isinstance(module, LAYERS) if names is None else name in names)
    ]
    if with_noise and names is not None:
        hooks += _hooks_after(net, names, results, random_like)
    with hooked(hooks), evaluating(net), say_size(net, size):
        output = net(noise(net, size))
    return Probe(size, logits_of(output), results, widths)


def _hooks_after(
    net: nn.Module,
    names: Sequence[str],
    results: Mapping[str, Any],
    random_like: Callable[[Tensor], Tensor],
) -> list[Any]:
    """Hooks that put noise in the place of what modules with weights or buffers of their own give,
    which begin to run when the layers ``names`` have, as ``results`` tells."""
    begun_later: set[nn.Module] = set()

    def begin(module: nn.Module, args: Any) -> None:
        if all(name in results for name in names):
            begun_later.add(module)

    def end(module: nn.Module, args: Any, out: Any) -> Any:
        later = module in begun_later and isinstance(out, Tensor) and out.is_floating_point()
        return random_like(out) if later else None

    layers = {part for name in names for part in net.get_submodule(name).modules()}
    hooks: list[Any] = []
    for module in set(net.modules()) - layers:
        if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            hooks += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    return hooks


def noise(net: nn.Module, size: tuple[int, int]) -> Tensor:
    """An image (1, 3, *size), as a net takes it; the same every time."""
    parameter = next(net.parameters(), torch.empty(0))
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(parameter)


def freeze_what_is_not_used(
    net: nn.Module, size: tuple[int, int], results_of: Callable[[Tensor], list[Tensor]]
) -> None:
    """Take the gradient from parameters that results are not made with, or
    DistributedDataParallel would wait for it forever.

    Args:
        net: whose parameters they are.
        size: of an image that it takes.
        results_of: an image -> what is made of it.
    """
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trained:
        return
    with torch.enable_grad(), evaluating(net):
        total = torch.stack([result.sum() for result in results_of(noise(net, size))]).sum()
        gradients = torch.autograd.grad(total, [*trained.values()], allow_unused=True)
    unused = [name for (name, _), grad in zip(trained.items(), gradients) if grad is None]
    for name in unused:
        trained[name].requires_grad_(False)
    if unused:
        logger.info(
            "%s: its prediction is not made with %d of its parameters, which stay as they are (%s)",
            type(net).__name__,
            len(unused),
            ", ".join(unused[:4]),
        )


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


def cells_of(probes: Sequence[Probe], names: Sequence[str]) -> dict[int, int]:
    """Side in pixels -> cells of what layers give; {} where there are none."""
    cells: dict[int, int] = {}
    for each in probes:
        coarse = each.sum_of(names)
        if coarse is None:
            return {}
        cells.update(zip(each.size, coarse.shape[-2:]))
    return cells


def what_follows(probes: Sequence[Probe], names: Sequence[str]) -> list[AfterClassifier]:
    """What may make the net's logits of what layers give, on every image; the likeliest first."""
    cells = cells_of(probes, names)
    stride = stride_of(cells) if cells else None
    if stride is None:
        return []
    return [
        AfterClassifier(upsampling, activation)
        for activation in ACTIVATIONS
        for upsampling in AFTER_CLASSIFIER
        if all(_is(upsampling, activation, each, names, stride) for each in probes)
    ]


def _is(
    upsampling: Upsampling, activation: str, probe: Probe, names: Sequence[str], stride: int
) -> bool:
    coarse, logits = probe.sum_of(names), probe.logits
    assert coarse is not None
    if coarse.shape[1] != logits.shape[1]:
        return False
    if logits.shape == coarse.shape:  # the net leaves the resize to others: ours is torch's default
        ours = coarse
    else:
        size = upsampling.size(size_of(coarse), stride, probe.size)
        if tuple(logits.shape[-2:]) != size:
            return False
        ours = upsampling.resize(coarse, size)
    ours = ACTIVATIONS[activation](ours)
    spread = TOLERANCE * float(logits.max() - logits.min())
    rounding = _ROUNDING * float(logits.abs().max())
    return float((ours - logits).abs().max()) <= max(spread, rounding)
