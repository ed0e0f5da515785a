"""Detectron2's Swin Transformer as a backbone of segmentors: maps res2 to res5, images of any size.

Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.build import ShapeSpec
from detectron2.modeling.backbone.swin import SwinTransformer, SwinTransformerBlock
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...core.mit import FEATURES, STRIDES, StochasticDepth


@dataclass(frozen=True)
class SwinVariant:
    """Width of the first stage, which doubles from stage to stage; depths and heads."""

    dim: int
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]


SWIN_VARIANTS = {
    "swin_t": SwinVariant(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_s": SwinVariant(96, (2, 2, 18, 2), (3, 6, 12, 24)),
}


class _Block(SwinTransformerBlock):
    """Detectron2's block, whose activations may be computed again instead of kept."""

    activation_checkpointing = False

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(super().forward, tokens, mask, use_reentrant=False)
        return super().forward(tokens, mask)


class Swin(SwinTransformer):
    """Swin Transformer with windows of 7 patches of 4 pixels and a norm behind every stage.

    Weights have the names that they have in Mask2Former and its descendants.

    Args:
        variant: width, depths and heads.
        out_features: which of "res2", "res3", "res4", "res5" (strides 4, 8, 16, 32) to return.
        drop_path_rate: largest rate of stochastic depth, reached by the last block.
        in_channels: channels of the image.
        size_divisibility: what images are padded to. 0 for heads that take maps of any size, as
            SegFormerHead does: a side of n pixels then gives ceil(n / stride) cells.
    """

    def __init__(
        self,
        variant: SwinVariant,
        *,
        out_features: Sequence[str] = FEATURES,
        drop_path_rate: float = 0.3,
        in_channels: int = 3,
        size_divisibility: int = 0,
    ):
        unknown = set(out_features) - set(FEATURES)
        if unknown or not out_features:
            raise ValueError(f"Swin offers the features {FEATURES}, got {tuple(out_features)}")
        stages = [stage for stage, name in enumerate(FEATURES) if name in out_features]
        super().__init__(
            in_chans=in_channels,
            embed_dim=variant.dim,
            depths=variant.depths,
            num_heads=variant.num_heads,
            drop_path_rate=0.0,
            out_indices=stages,
        )
        self._size_divisibility = size_divisibility
        blocks = self._blocks()
        for i, block in enumerate(blocks):
            block.__class__ = _Block  # Detectron2 makes the blocks by itself
            block.drop_path = StochasticDepth(drop_path_rate * i / (len(blocks) - 1))
            index = block.attn.relative_position_index  # derived from sizes: no weight
            block.attn.register_buffer("relative_position_index", index, persistent=False)
        self._names = {f"p{stage}": FEATURES[stage] for stage in stages}
        self._out_features = list(out_features)
        self._out_feature_channels = {
            name: variant.dim << stage for stage, name in enumerate(FEATURES)
        }
        self._out_feature_strides = dict(zip(FEATURES, STRIDES))

    def _blocks(self) -> list[Any]:
        layers: Any = self.layers
        return [block for layer in layers for block in layer.blocks]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised -> per feature (B, C, ceil(H / stride), ceil(W / stride))."""
        maps = {self._names[name]: feature for name, feature in super().forward(image).items()}
        return {name: maps[name] for name in self._out_features}

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes the blocks' activations again instead of keeping them."""
        for block in self._blocks():
            block.activation_checkpointing = enable

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility


@BACKBONE_REGISTRY.register()
def build_swin_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Swin:
    """The Swin that ``cfg.MODEL.D2_SWIN`` names.

    Raises:
        ValueError: there is no such Swin.
    """
    node = cfg.MODEL.D2_SWIN
    if node.NAME not in SWIN_VARIANTS:
        raise ValueError(
            f"MODEL.D2_SWIN.NAME: expected one of {sorted(SWIN_VARIANTS)}, got {node.NAME!r}"
        )
    return Swin(
        SWIN_VARIANTS[node.NAME],
        out_features=node.OUT_FEATURES,
        drop_path_rate=node.DROP_PATH_RATE,
        in_channels=input_shape.channels,
        size_divisibility=node.SIZE_DIVISIBILITY,
    )
