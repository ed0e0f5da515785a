"""The small convolution nets that mine relations among affinities: MRCFA's SAR and MAA.

The affinities of one token to the target's cells are an image, of one or two channels, and all
images go through the same nets. They stand side by side as groups of channels of one map, which is
several times as fast as a batch of them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cffm import LARGEST_HIDDEN

# Of every unit of a net: input channels, output channels, side of the kernel. SAR by level, from
# the finest; MAA from the coarsest level to the middle one, and from there to the finest.
Units = tuple[tuple[int, int, int], ...]
SHALLOW_SAR: tuple[Units, ...] = (((1, 1, 5),), ((1, 1, 5),), ((1, 1, 3),))
SHALLOW_MAA: tuple[Units, ...] = (((1, 1, 3),), ((1, 1, 3),))
DEEP_SAR: tuple[Units, ...] = (
    ((1, 1, 5), (1, 2, 3)),
    ((1, 1, 3), (1, 2, 3)),
    ((1, 1, 3), (1, 2, 3)),
)
DEEP_MAA: tuple[Units, ...] = (((2, 2, 3), (2, 2, 3)), ((2, 2, 3), (2, 1, 3)))


class AffinityUnit(nn.Module):
    """A convolution, GroupNorm with one group per image, ReLU.

    Args:
        in_channels, out_channels: of an image.
        kernel_size: odd; the size of the images stays.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)
        self.norm = nn.GroupNorm(1, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, s * in_channels, h, w) -> (B, s * out_channels, h, w), of s images in each."""
        images = maps.shape[1] // self.conv.in_channels
        weight, bias = self.conv.weight.repeat(images, 1, 1, 1), self.conv.bias
        assert bias is not None
        padding = self.conv.kernel_size[0] // 2
        maps = F.conv2d(maps, weight, bias.repeat(images), padding=padding, groups=images)
        scale, shift = self.norm.weight.repeat(images), self.norm.bias.repeat(images)
        return F.relu(F.group_norm(maps, images, scale, shift, self.norm.eps))


class AffinityNets(nn.Module):
    """Single-scale affinity refinement (SAR), then multi-scale affinity aggregation (MAA).

    Args:
        deep: two units in a net, and two channels between them, instead of one.
    """

    def __init__(self, deep: bool = False):
        super().__init__()
        refine, merge = (DEEP_SAR, DEEP_MAA) if deep else (SHALLOW_SAR, SHALLOW_MAA)
        self.refine = nn.ModuleList(_net(units) for units in refine)
        self.merge = nn.ModuleList(_net(units) for units in merge)

    def forward(self, *levels: Tensor) -> Tensor:
        """Affinities at three levels, each (B, s, h_l, w_l), finest first -> (B, s, h_0, w_0).

        No value is negative. In inference large maps go through in parts, which need less memory.
        """
        size, tokens = levels[0][:, 0].numel(), levels[0].shape[1]
        part = max(1, LARGEST_HIDDEN // (2 * size))
        if torch.is_grad_enabled() or part >= tokens:
            return self._refine_and_merge(levels)
        parts = zip(*(level.split(part, dim=1) for level in levels))
        return torch.cat([self._refine_and_merge(levels) for levels in parts], dim=1)

    def _refine_and_merge(self, levels: Sequence[Tensor]) -> Tensor:
        fine, middle, merged = (net(level) for net, level in zip(self.refine, levels))
        for net, finer in zip(self.merge, (middle, fine)):
            size = finer.shape[2:]
            merged = F.interpolate(merged, size=size, mode="bilinear", align_corners=True)
            merged = net(merged + finer)
        return merged


def _net(units: Units) -> nn.Sequential:
    return nn.Sequential(*(AffinityUnit(*unit) for unit in units))
