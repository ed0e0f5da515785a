"""timm's Swins (1, 2, and 2 "CR"), whose windows are laid out for one size of images, with any.

In a stage of no more cells than a window, windows are not shifted, and they shrink with the image.
timm decides this when a model is built, for the size of its pretraining: the last stage would
never shift. Here every block decides by the map that it is given, as in a model built for its size.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from .timm_hiera import timm

Size = tuple[int, int]


def has_windows(extractor: nn.Module) -> bool:
    """Whether a timm model consists of blocks with windows that are laid out when it is built."""
    return any(hasattr(module, "_calc_window_shift") for module in extractor.modules())


def lay_out_windows_by_size(extractor: nn.Module) -> None:
    """Let all blocks with windows lay them out anew when the size of their maps changes.

    Args:
        extractor: built with ``always_partition``, so that its windows have their full size; kept
            are those of the pretraining, at every size of images.
    """
    for block in extractor.modules():
        if hasattr(block, "_calc_window_shift"):
            block.always_partition = False  # type: ignore[assignment]
            block.register_forward_pre_hook(_Layout(block.window_size))


class _Layout:
    """Before a block's forward pass: the windows that suit its map (N, H, W, C).

    Args:
        largest: height and width of the block's windows.
    """

    def __init__(self, largest: Any):
        self.largest = tuple(largest)

    def __call__(self, block: Any, inputs: tuple[Tensor, ...]) -> None:
        size = (inputs[0].shape[1], inputs[0].shape[2])
        setattr(block, "feat_size" if hasattr(block, "feat_size") else "input_resolution", size)
        window, block.shift_size = block._calc_window_shift(self.largest)
        if window == block.window_size:
            return
        block.window_size, block.window_area = window, math.prod(window)
        with torch.inference_mode(False), torch.no_grad():  # its tables may train later
            if hasattr(block.attn, "relative_position_bias_table"):
                self._resize(block.attn, window)
            else:  # of Swin 2, which computes its biases
                block.attn.set_window_size(window)

    def _resize(self, attention: Any, window: Size) -> None:
        """As timm's own method does it, which would replace the parameter by a smaller one."""
        attention.window_size, attention.window_area = window, math.prod(window)
        device = attention.relative_position_index.device
        index_of = timm.models.swin_transformer.get_relative_position_index
        attention.relative_position_index = index_of(*window, device=device)
        attention.__dict__.pop("_get_rel_pos_bias", None)
        if window != self.largest:
            bias = functools.partial(_resized_bias, attention, self.largest)
            attention._get_rel_pos_bias = bias


def _resized_bias(attention: Any, largest: Size) -> Tensor:
    """(1, heads, cells, cells) for windows smaller than those that the table is of."""
    table = attention.relative_position_bias_table
    table = _resampling(largest, attention.window_size).to(table) @ table
    area = attention.window_area
    bias = table[attention.relative_position_index.view(-1)].view(area, area, -1)
    return bias.permute(2, 0, 1).contiguous().unsqueeze(0)


@functools.lru_cache(maxsize=64)
def _resampling(largest: Size, window: Size) -> Tensor:
    """The matrix by which timm resamples a table, (distances in a window, those in the largest).

    timm's own function is linear and has no gradient.
    """
    before, after = (math.prod(2 * side - 1 for side in sides) for sides in (largest, window))
    with torch.inference_mode(False), torch.no_grad():
        return timm.layers.resize_rel_pos_bias_table(
            torch.eye(before),
            new_window_size=window,
            new_bias_shape=(after, before),
            old_window_size=largest,
        )
