"""The encoders of Hugging Face's models as detectron2 backbones."""

from collections.abc import Sequence

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn

from ..heads.embedding import evaluating


class HFBackbone(Backbone):
    """An encoder's feature maps as a dict, ``stage1``, ``stage2``, ..., finest first.

    Channels and strides are measured once, on a blank image. Parameters that no map is made with,
    such as those of Swin's last norm, are without gradient.

    Args:
        encoder: images (N, 3, H, W), normalised -> its maps (N, C, h, w), one for each stage.
        size_divisibility: what detectron2 pads images to; 0 for an encoder that takes any size and
            gives ceil(side / stride) cells.

    Raises:
        ValueError: the stride of a map is no whole number.

    Attributes:
        brings_weights: whether it was built with trained weights.
    """

    brings_weights = False

    def __init__(self, encoder: nn.Module, size_divisibility: int = 0):
        super().__init__()
        self.encoder = encoder
        self._size_divisibility = size_divisibility
        side = 2 * (size_divisibility or 32)
        with torch.enable_grad(), evaluating(encoder):
            maps = encoder(torch.zeros(1, 3, side, side))
            _freeze_what_is_not_used(encoder, maps)
        names = [f"stage{number}" for number in range(1, len(maps) + 1)]
        for name, feature in zip(names, maps):
            if any(side % cells for cells in feature.shape[-2:]):
                raise ValueError(
                    f"the encoder's {name} has {feature.shape[-2]}x{feature.shape[-1]} cells of an "
                    f"image of {side}x{side} pixels: no whole number of pixels a cell"
                )
        self._out_features = names
        self._out_feature_channels = {n: m.shape[1] for n, m in zip(names, maps)}
        self._out_feature_strides = {n: side // m.shape[-1] for n, m in zip(names, maps)}

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W), normalised -> per stage (N, C, H / stride, W / stride), rounded up."""
        return dict(zip(self._out_features, self.encoder(image), strict=True))


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
