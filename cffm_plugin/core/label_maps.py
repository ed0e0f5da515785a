"""From logits at the resolution where a network computes them to what its user asks for.

A network computes logits at stride 4 or 8. On their way to the output they are resized bilinearly
two or three times. ``full_resolution`` does that step by step, as it is done elsewhere;
``label_map`` gives the same classes and holds no map of K classes at full resolution.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Bytes of logits at full resolution that are worked on at a time: on a CPU they stay in its cache.
_BAND_BYTES = {"cpu": 1 << 21, "cuda": 1 << 28}


@dataclass(frozen=True)
class Upsampling:
    """How an image segmentor brings its logits to the size of its image.

    Attributes:
        align_corners: as of ``torch.nn.functional.interpolate``.
        to_image: straight to the size of the padded image; else by the stride, a whole number.
    """

    align_corners: bool = False
    to_image: bool = False

    def size(
        self, cells: tuple[int, int], stride: int, image_size: tuple[int, int]
    ) -> tuple[int, int]:
        """Of what comes of ``cells`` rows and columns."""
        return image_size if self.to_image else (cells[0] * stride, cells[1] * stride)

    def resize(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """(N, K, h, w) -> (N, K, *size)."""
        return F.interpolate(
            logits, size=tuple(size), mode="bilinear", align_corners=self.align_corners
        )


# All kinds.
BY_STRIDE = Upsampling()  # as detectron2's heads do
AFTER_CLASSIFIER = tuple(Upsampling(a, i) for i in (False, True) for a in (False, True))


class CoarseOutput(ABC):
    """The prediction of a frame before it is resized to the output, K classes."""

    @abstractmethod
    def parts(self) -> tuple[Tensor, ...]:
        """The tensors that everything else is made of."""

    @abstractmethod
    def full_resolution(self) -> Tensor:
        """What its segmentor gives, (K, height, width): logits, or the scores of a semantic map."""

    def scores(self, is_map: bool) -> Tensor:
        """``full_resolution``; of logits in a segmentor of semantic maps, their probabilities."""
        return self.full_resolution()

    @abstractmethod
    def probabilities(self) -> Tensor:
        """(K, height, width), float32; they sum to 1."""

    @abstractmethod
    def logits(self) -> Tensor:
        """(K, height, width), float32."""

    @abstractmethod
    def label_map(self) -> Tensor:
        """The likeliest class of every pixel: (height, width), uint8 (K <= 256)."""

    @abstractmethod
    def at_stride(self) -> "CoarseLogits":
        """The same as logits at the stride of the head."""


@dataclass(frozen=True)
class CoarseLogits(CoarseOutput):
    """Logits of a frame before they are resized.

    Attributes:
        values: (K, h, w).
        embedding_size: rows and columns that they are resized to first.
        stride: what they are upsampled by next: to the size of the padded image.
        image_size: height and width without the padding; the rest is cropped.
        output_size: height and width that they are resized to at last.
        padded_size: height and width of the padded image; None for those of whole cells.
        upsampling: how that is done.
    """

    values: Tensor
    embedding_size: tuple[int, int]
    stride: int
    image_size: tuple[int, int]
    output_size: tuple[int, int]
    padded_size: tuple[int, int] | None = None
    upsampling: Upsampling = BY_STRIDE

    @property
    def upsampled_size(self) -> tuple[int, int]:
        """Rows and columns before the crop: of the padded image, or a little more."""
        height, width = self.embedding_size
        whole = height * self.stride, width * self.stride
        return self.upsampling.size(self.embedding_size, self.stride, self.padded_size or whole)

    def parts(self) -> tuple[Tensor, ...]:
        """The tensors that everything else is made of."""
        return (self.values,)

    def full_resolution(self) -> Tensor:
        """Logits (K, height, width)."""
        logits = resize(self.values[None], self.embedding_size)
        logits = self.upsampling.resize(logits, self.upsampled_size)
        return crop_and_resize(logits[0], self.image_size, self.output_size)

    def scores(self, is_map: bool) -> Tensor:
        return self.probabilities() if is_map else self.full_resolution()

    def probabilities(self) -> Tensor:
        """(K, height, width), float32; they sum to 1."""
        return self.logits().softmax(dim=0)

    def logits(self) -> Tensor:
        """(K, height, width), float32."""
        return self.full_resolution().float()

    def at_stride(self) -> "CoarseLogits":
        """The same with its logits at the size of the head's embedding."""
        return replace(self, values=resize(self.values[None], self.embedding_size)[0])

    def label_map(self) -> Tensor:
        """The class with the largest logit of every pixel: (height, width), uint8 (K <= 256).

        Every resize is linear and separable, so all of them together are one matrix for the rows
        and one for the columns; the rows are done band by band.
        """
        values = self.values.float()
        vertical, horizontal = (
            _chain(
                values.shape[1 + axis],
                self.embedding_size[axis],
                self.upsampled_size[axis],
                self.image_size[axis],
                self.output_size[axis],
                values.device,
                self.upsampling.align_corners,
            )
            for axis in (0, 1)
        )
        possible = _possible_classes(values, (vertical.reach, horizontal.reach))
        height, width = self.output_size
        budget = band_bytes(values.device)
        labels = torch.empty(height, width, dtype=torch.long, device=values.device)
        with torch.autocast(values.device.type, enabled=False):
            for stripe, inputs in vertical.stripes:
                classes = possible[inputs.start // vertical.reach]
                wide = torch.matmul(values[classes, inputs], horizontal.matrix.T)
                rows = max(1, budget // (4 * width * len(classes)))
                for top in range(stripe.start, stripe.stop, rows):
                    band = slice(top, min(top + rows, stripe.stop))
                    logits = torch.matmul(vertical.matrix[band, inputs], wide)  # (k, rows, width)
                    labels[band] = classes[logits.max(dim=0).indices]  # twice as fast as argmax
        return labels.to(torch.uint8 if len(values) <= 256 else torch.long)


@dataclass(frozen=True)
class Resizing:
    """Several resizes of one axis as one.

    Attributes:
        matrix: (outputs, inputs), rows sum to 1.
        reach: the largest number of neighbouring inputs that an output is made of.
        stripes: outputs in groups, and the inputs that each is made of: stripe number i begins
            with input i * reach.
    """

    matrix: Tensor
    reach: int
    stripes: list[tuple[slice, slice]]


def all_finite(*tensors: Tensor) -> bool:
    """Whether no value is NaN or infinite: one pass over each, and one answer of the device."""
    # Anything that is not finite makes the sum so. A sum may also overflow by itself.
    sums = [tensor.sum(dtype=torch.float32) for tensor in tensors]
    total = sums[0] if len(sums) == 1 else torch.stack(sums).sum()
    if math.isfinite(total.item()):
        return True
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def band_bytes(device: torch.device) -> int:
    """How many bytes of logits at full resolution to work on at a time."""
    return _BAND_BYTES.get(device.type, 1 << 28)


def resizing(inputs: int, outputs: int, device: torch.device) -> Resizing:
    """A single bilinear resize of one axis."""
    return _chain(inputs, inputs, inputs, inputs, outputs, device)


@lru_cache(maxsize=64)
def _chain(
    inputs: int,
    embedding: int,
    upsampled: int,
    image: int,
    output: int,
    device: torch.device,
    align_corners: bool = False,
) -> Resizing:
    """What ``full_resolution`` does to one axis."""
    with torch.inference_mode(False):  # the result may be used under grad mode later
        steps = torch.eye(inputs, dtype=torch.float64)[None]  # (1, channels = inputs, positions)
        for size, align in ((embedding, False), (upsampled, align_corners)):
            steps = F.interpolate(steps, size=size, mode="linear", align_corners=align)
        steps = F.interpolate(steps[:, :, :image], size=output, mode="linear", align_corners=False)
        matrix = steps[0].T
    used = matrix > 0
    first = used.int().argmax(dim=1)
    last = inputs - 1 - used.flip(1).int().argmax(dim=1)
    reach = int((last - first).max()) + 1
    last_window = -(-max(0, inputs - _window(reach, inputs)) // reach)
    number_of = (first // reach).clamp(max=last_window)
    stripes = []
    for number in torch.unique(number_of).tolist():
        outputs = torch.nonzero(number_of == number).flatten()
        needed = slice(number * reach, int(last[outputs].max()) + 1)
        stripes.append((slice(int(outputs[0]), int(outputs[-1]) + 1), needed))
    return Resizing(matrix.float().to(device), reach, stripes)


def _possible_classes(values: Tensor, reach: tuple[int, int]) -> list[Tensor]:
    """Per ``reach[0]`` rows, the classes that can be the largest anywhere there after resizing.

    A resized logit lies between the least and the largest of those that it is made of, which stand
    in a window of ``reach``. A class whose largest is below another's least never wins there.
    """
    kernel = [_window(r, size) for r, size in zip(reach, values.shape[1:])]
    largest, least = (
        F.max_pool2d(x[None], kernel, stride=reach, ceil_mode=True)[0] for x in (values, -values)
    )
    bar = -least.amin(dim=0)
    bar = bar - 1e-5 * bar.abs()  # rounding must not decide
    possible = (~(largest < bar)).any(dim=2)  # (K, rows); NaN is possible
    return [torch.nonzero(row_mask).flatten() for row_mask in possible.unbind(dim=1)]


def _window(reach: int, inputs: int) -> int:
    """The inputs that the outputs of a stripe are made of: its first ``reach`` inputs and on."""
    return min(2 * reach - 1, inputs)


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """(N, K, h, w) -> (N, K, *size), bilinear."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def crop_and_resize(maps: Tensor, size: Sequence[int], output_size: Sequence[int]) -> Tensor:
    """Maps (C, h, w) of a padded image, of which ``size`` is the image's -> (C, *output_size)."""
    cropped = maps[None, :, : size[0], : size[1]]
    return F.interpolate(cropped, size=tuple(output_size), mode="bilinear", align_corners=False)[0]


def upsample(logits: Tensor, stride: int) -> Tensor:
    """(N, K, h, w) -> (N, K, h * stride, w * stride), bilinear."""
    return F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
