"""Whether a device computes convolutions and linear maps in half precision as in float32.

Libraries choose another kernel for every shape, instruction set and version, and one that is wrong
for some shapes says nothing. So each map of a model is tried, and what is off stays in float32.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .nested import map_tensors

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
MAPS = (*CONVOLUTIONS, nn.Linear, nn.MultiheadAttention)

# What is compared has operands that the half type holds exactly, so that it differs from float32 by
# the rounding of results alone: half an epsilon of a value, and as much for every partial sum that
# is kept in half precision, as some devices do for a few of them. Partial sums are about as large
# as the usual result of a channel. Four epsilons (3 % in bfloat16, 0.4 % in float16) of a value and
# of its channel's root mean square leave room for some twenty such sums; a kernel that is wrong is
# off by about the value itself.
MARGIN = 4.0
MARGIN_OF_ATTENTION = 16.0  # four maps and a softmax one after the other
MARGIN_OF_GRADIENTS = 16.0  # some kernels keep a sum in half precision for every row of an image
# Cells of a map's output, by its number of dimensions, and tokens of a linear map: several strides
# a side; no multiple of a block of any kernel, so that what is left over is computed as well.
CELLS: dict[int, tuple[int, ...]] = {1: (67,), 2: (5, 13), 3: (3, 3, 7)}
NARROW = (2, 1)  # cells of a map that is as wide as the kernel
TOKENS = 67

logger = logging.getLogger(__name__)


def maps_of(root: nn.Module) -> dict[str, nn.Module]:
    """The convolutions, linear maps and multi-head attentions below a module, by their paths.

    What holds one of them and nothing else, as a wrapper does, is another, after it.
    """
    found: dict[str, nn.Module] = {}
    known: set[nn.Module] = set()
    for name, module in reversed(list(root.named_modules())):  # children before their parents
        children = list(module.children())
        wraps = len(children) == 1 and children[0] in known and next(_own(module), None) is None
        if isinstance(module, MAPS) or wraps:
            found[name] = module
            known.add(module)
    inside = {
        child for m in known if isinstance(m, nn.MultiheadAttention) for child in m.modules()
    } - {m for m in known if isinstance(m, nn.MultiheadAttention)}
    return {name: module for name, module in found.items() if module not in inside}


def maps_that_are_off(
    maps: Mapping[str, nn.Module],
    dtype: torch.dtype,
    *,
    autocast: bool = False,
    backward: bool = False,
) -> dict[str, float]:
    """Path -> by how many times what rounding explains a map differs from float32 on its device.

    A wrapper is named where what it wraps is right and it is not.

    Args:
        maps: of ``maps_of``.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
        autocast: they have weights of float32 and run under ``torch.autocast``; else they are cast.
        backward: the gradients of weights and input are compared as well.
    """
    off: dict[str, float] = {}
    wanted = torch.float32 if autocast else dtype
    for name, module in maps.items():
        if any(other.startswith(f"{name}.") for other in off):
            continue
        if {p.dtype for p in module.parameters()} != {wanted}:
            continue
        excess = excess_over_rounding(module, dtype, autocast=autocast, backward=backward)
        if excess > 1:
            off[name] = excess
    return dict(reversed(off.items()))  # in the model's order


@torch.inference_mode(False)
def excess_over_rounding(
    module: nn.Module, dtype: torch.dtype, *, autocast: bool = False, backward: bool = False
) -> float:
    """How far a map in half precision is from float32, over what rounding explains.

    Both compute the same, with weights and a small random input of the map's own shape that are
    rounded to ``dtype``: two sequences or images; one image whose channels lie last in memory; and
    one that is as narrow as the kernel, without gradients.

    Args:
        module, dtype, autocast, backward: as of ``maps_that_are_off``.

    Returns:
        1 at most where it is right; infinite where it gives NaN or an error; 0 for what can't be
        tried, such as a wrapper that takes other input than what it wraps.
    """
    inner = _innermost(module)
    if isinstance(inner, torch.nn.modules.lazy.LazyModuleMixin):
        return 0.0
    margin = MARGIN_OF_ATTENTION if isinstance(inner, nn.MultiheadAttention) else MARGIN
    worst = 0.0
    with _without_norm(inner), _evaluating(module):
        weights = _rounded_weights(module, dtype, some_are_zero=not backward)
        if any(weight.isinf().any() for weight in weights.values()):
            return math.inf
        for inputs, is_narrow in _small_inputs(inner, weights, dtype):
            differentiates = backward and not is_narrow
            try:
                exact = _results(module, weights, inputs, differentiates)
            except Exception:  # whatever its forward raises at such an input
                return 0.0
            try:
                with torch.autocast(inputs[0].device.type, dtype, enabled=autocast):
                    cast_to = None if autocast else dtype
                    given = _results(module, weights, inputs, differentiates, cast_to)
            except Exception:  # there is no kernel for it
                return math.inf
            for i, ((ours, channel), (expected, _)) in enumerate(zip(given, exact, strict=True)):
                allowed = max(margin, MARGIN_OF_GRADIENTS) if i > 0 else margin
                worst = max(worst, _excess(ours, expected, channel, dtype, allowed))
    return worst


def stay_in_float32(module: nn.Module, dtype: torch.dtype | None = None) -> None:
    """From now on a module with weights of float32 computes in it, whatever comes before and after.

    Args:
        module: its input is cast up and autocast is off in it.
        dtype: what its output is cast to; by default autocast's, where that is on around it.
    """
    module.__dict__["stays_in_float32"] = True  # for who uses its weights without calling it
    module.forward = MethodType(_forward_in_float32, module)
    module.register_forward_hook(_CastBack(dtype))


def forget_what_stayed(module: nn.Module) -> None:
    """Undo ``stay_in_float32`` in a module and all below it."""
    for child in module.modules():
        if getattr(child.__dict__.get("forward"), "__func__", None) is _forward_in_float32:
            del child.forward, child.stays_in_float32
        for key, hook in list(child._forward_hooks.items()):
            if isinstance(hook, _CastBack):
                del child._forward_hooks[key]


def train_what_is_off_in_float32(model: nn.Module, dtype: torch.dtype) -> dict[str, float]:
    """Try all maps of a model as autocast runs them, forward and backward.

    What this device computes wrongly runs in float32 from now on, and the log names it.

    Returns:
        as ``maps_that_are_off``.
    """
    off = maps_that_are_off(maps_of(model), dtype, autocast=True, backward=True)
    for name in off:
        stay_in_float32(model.get_submodule(name))
    say_what_is_off(off, dtype)
    return off


def say_what_is_off(off: Mapping[str, float], dtype: torch.dtype) -> None:
    """Log the paths of maps that stay in float32, if there are any."""
    if off:
        named = ", ".join(f"{name} ({excess:.3g} times)" for name, excess in off.items())
        logger.warning(
            "This device computes %d maps of the model wrongly in %s: they differ from float32 by "
            "more than rounding explains. They stay in float32: %s. (cffm check --machine)",
            len(off),
            str(dtype).removeprefix("torch."),
            named,
        )


def _forward_in_float32(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = (cast(value, torch.float32) for value in (args, kwargs))
    kind = next(self.parameters()).device.type
    with torch.autocast(kind, enabled=False):
        return type(self).forward(self, *args, **kwargs)


class _CastBack:
    """A forward hook; after all others, which then see float32 as well."""

    def __init__(self, dtype: torch.dtype | None):
        self.dtype = dtype

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        dtype = self.dtype
        if dtype is None:
            kind = next(module.parameters()).device.type
            if not torch.is_autocast_enabled(kind):
                return output
            dtype = torch.get_autocast_dtype(kind)
        return cast(output, dtype)


def cast(value: Any, dtype: torch.dtype) -> Any:
    """The floating-point tensors of a container, cast."""
    return map_tensors(value, lambda t: t.to(dtype) if t.is_floating_point() else t)


def _own(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _innermost(module: nn.Module) -> Any:
    while not isinstance(module, MAPS):
        (module,) = module.children()
    return module


@contextmanager
def _without_norm(module: nn.Module) -> Iterator[None]:
    """detectron2's convolution without the norm and activation in it, which would hide what the
    convolution computes, or divide it by almost nothing."""
    parts = ("norm", "activation")
    if not isinstance(module, nn.Conv2d) or not all(hasattr(module, part) for part in parts):
        yield
        return
    convolution: Any = module
    norm, activation = convolution.norm, convolution.activation
    convolution.norm = convolution.activation = None
    try:
        yield
    finally:
        convolution.norm, convolution.activation = norm, activation


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Without the dropout of attention."""
    modes = {child: child.training for child in module.modules()}
    for child in modes:
        child.training = False
    try:
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode


def _rounded_weights(
    module: nn.Module, dtype: torch.dtype, some_are_zero: bool
) -> dict[str, Tensor]:
    """A module's weights in float32, of values that the half type holds.

    Args:
        some_are_zero: weights that are all zero stay so. They would hide every fault of a map that
            is yet to be trained, so that others are drawn for it.
    """
    rounded = {}
    generator = torch.Generator().manual_seed(1)
    for name, weight in module.named_parameters():
        values = weight.detach()
        if not some_are_zero and weight.dim() > 1 and not values.any():
            scale = weight[0].numel() ** -0.5
            values = scale * torch.randn(weight.shape, generator=generator).to(weight.device)
        rounded[name] = values.to(dtype).float()
    return rounded


def _small_inputs(
    module: nn.Module, weights: Mapping[str, Tensor], dtype: torch.dtype
) -> Iterator[tuple[tuple[Tensor, ...], bool]]:
    """Inputs of a map in float32, of values that the half type holds; and whether it is narrow.

    They are scaled by a power of two so that results of tiny and huge weights are in float16's
    range.
    """
    generator = torch.Generator().manual_seed(0)
    device = next(iter(weights.values())).device
    scale = _scale(module, weights)

    def draw(*shape: int) -> Tensor:
        return (scale * torch.randn(shape, generator=generator)).to(dtype).float().to(device)

    if isinstance(module, nn.MultiheadAttention):
        channels = (module.embed_dim, module.kdim, module.vdim)
        size = (2, TOKENS) if module.batch_first else (TOKENS, 2)
        query, key, value = (draw(*size, width) for width in channels)
        all_one = channels == (channels[0],) * 3
        yield ((query, query, query) if all_one else (query, key, value)), False
    elif isinstance(module, nn.Linear):
        yield (draw(2, TOKENS, module.in_features),), False
    else:
        assert isinstance(module, CONVOLUTIONS)
        cells = CELLS[len(module.kernel_size)]
        images = draw(2, module.in_channels, *_sides(module, cells))
        yield (images,), False
        if images.dim() == 4:
            yield (images[:1].to(memory_format=torch.channels_last),), False
            image = draw(1, module.in_channels, *_sides(module, NARROW))
            yield (image.to(memory_format=torch.channels_last),), True


def _scale(module: nn.Module, weights: Mapping[str, Tensor]) -> float:
    """Of an input, so that the largest channel of what the weights make of it is about 1."""
    if isinstance(module, nn.MultiheadAttention):
        return 1.0
    weight = next((w for name, w in weights.items() if name.endswith("weight")), None)
    if weight is None or weight.dim() < 2:
        return 1.0
    largest = float(weight.flatten(1).norm(dim=1).max())
    if not 0 < largest < math.inf:
        return 1.0
    return 2.0 ** max(-12, min(12, -round(math.log2(largest))))


def _sides(module: Any, cells: tuple[int, ...]) -> list[int]:
    """The height, width, ... of an input that gives a map of so many cells."""
    if isinstance(module, TRANSPOSED):
        return list(cells)
    padding = module.padding if not isinstance(module.padding, str) else (0,) * len(cells)
    terms = zip(cells, module.kernel_size, module.stride, module.dilation, padding)
    return [max(1, (n - 1) * s + d * (k - 1) + 1 - 2 * p) for n, k, s, d, p in terms]


def _results(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    inputs: tuple[Tensor, ...],
    backward: bool,
    dtype: torch.dtype | None = None,
) -> list[tuple[Tensor, int]]:
    """What a module gives, and the gradients; each with the dimension that its channels are in.

    Args:
        dtype: what weights and inputs are cast to before; None for not at all.
    """
    if dtype is not None:
        weights = {name: weight.to(dtype) for name, weight in weights.items()}
        cast = {id(tensor): tensor.to(dtype) for tensor in inputs}
        inputs = tuple(cast[id(tensor)] for tensor in inputs)  # the same ones stay the same
    if backward:
        leaf_of = {id(tensor): tensor.detach().requires_grad_() for tensor in inputs}
        inputs = tuple(leaf_of[id(tensor)] for tensor in inputs)
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    convolves = isinstance(_innermost(module), CONVOLUTIONS)
    channel = 1 if convolves else -1
    with torch.set_grad_enabled(backward):
        output = functional_call(module, dict(weights), inputs)
        output = output[0] if isinstance(output, tuple) else output
        if not backward:
            return [(output, channel)]
        generator = torch.Generator().manual_seed(2)
        gradient = torch.randn(output.shape, generator=generator).to(torch.bfloat16)
        leaves = {**weights, "": inputs[0]}
        found = torch.autograd.grad(
            output, list(leaves.values()), gradient.to(output), allow_unused=True
        )
    gradients = [
        (value, channel if name == "" else 0)
        for (name, leaf), value in zip(leaves.items(), found)
        if value is not None
    ]
    return [(output.detach(), channel), *gradients]


def _excess(
    given: Tensor, expected: Tensor, channel: int, dtype: torch.dtype, margin: float
) -> float:
    """The largest difference over the allowed one, where the half type has the range for it."""
    limits = torch.finfo(dtype)
    given, expected = given.float(), expected.float()
    channel %= expected.dim()
    is_alone = expected.numel() == expected.shape[channel]  # a value a channel has no mean
    others = [d for d in range(expected.dim()) if d != channel or is_alone]
    usual = expected.square().mean(others, keepdim=True).sqrt()
    allowed = margin * limits.eps * (expected.abs() + usual) + limits.tiny
    excess = ((given - expected).abs() / allowed).nan_to_num(math.inf, math.inf)
    compared = expected.abs() < limits.max / 2  # what is NaN itself is not
    return float(excess.where(compared, 0.0).max())
