"""timm's Hiera (Ryali et al., ICML 2023), which is built for one size of images, with any."""

from typing import Any

import torch
from torch import Tensor

from ...libraries import OptionalLibrary

timm = OptionalLibrary("timm", "A backbone of timm (build_timm_backbone)")


def extract(extractor: Any, image: Tensor) -> list[Tensor]:
    """A timm feature extractor's maps of an image, (B, C, H, W), of any size that it takes.

    Hiera's tables are made for the image's size first, and its position embeddings resampled; it
    takes sides that are multiples of 32.
    """
    hiera: Any = getattr(extractor, "model", None)
    if not hasattr(hiera, "tokens_spatial_shape"):  # which Hiera alone has
        return extractor(image)
    _set_size(hiera, image.shape[-2:])
    embedding = hiera.pos_embed
    if embedding.dim() == 4:  # that of whole windows, which Hiera resamples itself
        return extractor(image)
    resampled = timm.layers.resample_abs_pos_embed(
        embedding, hiera.tokens_spatial_shape, num_prefix_tokens=0
    )
    return torch.func.functional_call(extractor, {"model.pos_embed": resampled}, (image,))


def _set_size(hiera: Any, size: torch.Size) -> None:
    """Make what depends on the size of images anew, where it has changed."""
    cells = [side // stride for side, stride in zip(size, hiera.patch_stride)]
    if hiera.tokens_spatial_shape == cells:
        return
    hiera.tokens_spatial_shape = cells
    hiera.mask_spatial_shape = [n // unit for n, unit in zip(cells, hiera.mask_unit_size)]
    arguments = (tuple(size), hiera.patch_stride, hiera.unroll.schedule)
    hiera.unroll = timm.models.hiera.Unroll(*arguments)
    hiera.reroll = timm.models.hiera.Reroll(*arguments, hiera.stage_ends, hiera.q_pool)
