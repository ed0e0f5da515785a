"""The encoders of Hugging Face's models as detectron2 backbones."""

from collections.abc import Sequence

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn

from ...core.head_embedding import evaluating
from ...core.strides import in_words, sizes_to_measure, stride_of


class HFBackbone(Backbone):
    """An encoder's feature maps as a dict, ``stage1``, ``stage2``, ..., finest first.

    Channels and strides are measured once, on two blank images. Parameters that no map is made
    with, such as those of Swin's last norm, are without gradient.

    Args:
        encoder: images (N, 3, H, W), normalised -> its maps (N, C, h, w), one for each stage.
        divisors: what detectron2 may pad images to; taken is the first with which all maps have a
            whole number of pixels a cell. 0 for an encoder that takes any size and gives
            ceil(side / stride) cells.

    Raises:
        ValueError: there is none.

    Attributes:
        brings_weights: whether it was built with trained weights.
    """

    brings_weights = False

    def __init__(self, encoder: nn.Module, divisors: Sequence[int] = (0,)):
        super().__init__()
        self.encoder = encoder
        found = "none"
        for divisor in divisors:
            try:
                maps, cells = _measure(encoder, divisor)
            except (RuntimeError, ValueError, AssertionError) as error:
                found = str(error)  # "Input image size (64*224) doesn't match model (256*192)."
                continue
            strides = [stride_of(map_cells) for map_cells in cells]
            if all(s is not None and divisor % s == 0 for s in strides):
                break
            found = in_words(next(c for c, s in zip(cells, strides) if not s or divisor % s))
        else:
            inner = type(getattr(encoder, "model", encoder)).__name__
            raise ValueError(
                f"MODEL.HF.NAME: {inner} of transformers does not become a backbone. Tried were "
                f"images whose sides are multiples of {' or '.join(map(str, divisors))}: its "
                "maps have no whole number of pixels a cell, or it takes images of one size alone "
                f"({found.rstrip('.')}). Take another model."
            )
        self._size_divisibility = divisor
        _freeze_what_is_not_used(encoder, maps)
        names = [f"stage{number}" for number in range(1, len(maps) + 1)]
        self._out_features = names
        self._out_feature_channels = {n: m.shape[1] for n, m in zip(names, maps)}
        self._out_feature_strides = {n: s for n, s in zip(names, strides) if s is not None}

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W), normalised -> per stage (N, C, H / stride, W / stride), rounded up."""
        return dict(zip(self._out_features, self.encoder(image), strict=True))


def _measure(encoder: nn.Module, divisor: int) -> tuple[Sequence[Tensor], list[dict[int, int]]]:
    """Maps of a blank image with their gradient's graph; and of each, side in pixels -> cells."""
    cells: list[dict[int, int]] = []
    with torch.enable_grad(), evaluating(encoder):
        for size in sizes_to_measure(divisor):
            maps = encoder(torch.zeros(1, 3, *size))
            cells = cells or [{} for _ in maps]
            for map_cells, feature in zip(cells, maps, strict=True):
                map_cells.update(zip(size, feature.shape[-2:]))
    return maps, cells


def _freeze_what_is_not_used(encoder: nn.Module, maps: Sequence[Tensor]) -> None:
    """Or DistributedDataParallel would wait for gradients that never come."""
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    total = torch.stack([feature.sum() for feature in maps]).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients):
        parameter.requires_grad_(gradient is not None)


class HiddenStates(nn.Module):
    """An encoder whose hidden states are maps: SegFormer's.

    Args:
        model: of transformers.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.model(image, output_hidden_states=True).hidden_states


class FeatureMaps(nn.Module):
    """A backbone of transformers' ``AutoBackbone``: Swin, ConvNeXt, ResNet and others.

    Args:
        model: of transformers.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(image).feature_maps)


class ReassembledTokens(nn.Module):
    """DPT's vision transformer, and the part of its neck that makes maps of tokens.

    Takes images of any shape whose sides are multiples of the patch; transformers' own
    ``DPTForSemanticSegmentation`` takes squares.

    Args:
        model: gives tokens (N, 1 + h * w, C) after every layer.
        reassemble: tokens of the layers -> maps at as many strides.
        layers: whose tokens are taken, from 0.
        patch_size: in pixels.
    """

    def __init__(
        self, model: nn.Module, reassemble: nn.Module, layers: tuple[int, ...], patch_size: int
    ):
        super().__init__()
        self.model = model
        self.reassemble = reassemble
        self.layers = layers
        self.patch_size = patch_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        _, *tokens = self.model(image, output_hidden_states=True).hidden_states
        height, width = (side // self.patch_size for side in image.shape[-2:])
        return tuple(self.reassemble([tokens[layer] for layer in self.layers], height, width))
