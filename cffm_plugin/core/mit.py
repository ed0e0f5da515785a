"""Mix Transformer (MiT), the encoder of SegFormer.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021, section 3.1. Parameters carry the field's names, so that published weights load.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import attend
from .cffm import LARGEST_HIDDEN

BLOCK_NORM_EPS = 1e-6  # block and stage norms; the others have torch's default, 1e-5
STRIDES = (4, 8, 16, 32)
FEATURES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True)
class MiTVariant:
    """Widths, depths and heads of the four stages."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int] = (1, 2, 5, 8)


_LARGE = (64, 128, 320, 512)
MIT_VARIANTS = {
    "mit_tiny": MiTVariant((16, 32, 64, 96), (1, 1, 1, 1), (1, 2, 4, 6)),
    "mit_b0": MiTVariant((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": MiTVariant(_LARGE, (2, 2, 2, 2)),
    "mit_b2": MiTVariant(_LARGE, (3, 4, 6, 3)),
    "mit_b3": MiTVariant(_LARGE, (3, 4, 18, 3)),
    "mit_b4": MiTVariant(_LARGE, (3, 8, 27, 3)),
    "mit_b5": MiTVariant(_LARGE, (3, 6, 40, 3)),
}


@dataclass(frozen=True)
class FeatureShape:
    """Of a feature map: its channels, and its stride relative to the image."""

    channels: int
    stride: int


class StochasticDepth(nn.Module):
    """In training, a residual branch is left out for some images of a batch, at random.

    What stays is scaled, so that the mean is as without (Huang et al., ECCV 2016).
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> the same, or 0."""
        if not self.training or self.p == 0:
            return branch
        kept = 1 - self.p
        noise = branch.new_empty(len(branch), *[1] * (branch.dim() - 1)).bernoulli_(kept)
        return branch * noise.div_(kept) if kept else branch * noise


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w), a view in the memory format "channels last"."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` in the weight's dtype, which need not be that of the tokens."""
    return F.linear(tokens.to(weight.dtype), weight, bias).to(tokens.dtype)


class OverlapPatchEmbed(nn.Module):
    """A strided convolution whose patches overlap, then LayerNorm."""

    def __init__(self, in_channels: int, dim: int, kernel_size: int, stride: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size, stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, feature: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) -> tokens (B, h * w, dim) and (h, w), each side divided, rounded up."""
        feature = self.proj(feature)
        height, width = feature.shape[2:]
        return self.norm(feature.flatten(2).transpose(1, 2)), (height, width)


class EfficientSelfAttention(nn.Module):
    """Self-attention whose keys and values come from a map reduced ``sr_ratio`` times a side."""

    dtype: torch.dtype | None = None  # what tokens are cast to, of ``MiT.compute_in``

    def __init__(self, dim: int, num_heads: int, sr_ratio: int):
        super().__init__()
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, kernel_size=sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def reduce(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h * w, C) -> (B, (h // sr) * (w // sr), C)."""
        if self.sr_ratio == 1:
            return tokens
        B, _, C = tokens.shape
        feature = to_map(tokens, size)
        # A map smaller than the kernel, of inputs under 32 pixels, still gives one token.
        right, bottom = (max(0, self.sr_ratio - side) for side in reversed(size))
        if right or bottom:
            feature = F.pad(feature, (0, right, 0, bottom))
        return self.norm(self.sr(feature).flatten(2).transpose(1, 2))

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h * w, C) -> (B, h * w, C)."""
        tokens = tokens if self.dtype is None else tokens.to(self.dtype)
        B, N, C = tokens.shape
        heads = self.num_heads
        query = self.q(tokens).view(B, N, heads, C // heads).transpose(1, 2)
        key_value = self.kv(self.reduce(tokens, size)).view(B, -1, 2, heads, C // heads)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, M, C / heads) each
        attended = attend(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(B, N, C))


class DepthwiseConv(nn.Module):
    """3x3 depthwise convolution over tokens."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        B, N, C = tokens.shape
        feature = self.dwconv(to_map(tokens, size))
        return feature.flatten(2).transpose(1, 2)


class MixFFN(nn.Module):
    """Linear, depthwise convolution, GELU, linear; the convolution tells positions apart."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens.to(self.fc1.weight.dtype)
        hidden_dim = self.fc1.out_features
        parts = -(-tokens.shape[1] * hidden_dim // LARGEST_HIDDEN)
        if parts == 1 or torch.is_grad_enabled():
            return self.fc2(F.gelu(self.dwconv(self.fc1(tokens), size)))
        # Hidden channels are apart until fc2 sums them up: some at a time need less memory.
        output = self.fc2.bias.to(tokens.dtype).expand(*tokens.shape).clone()
        step = -(-hidden_dim // parts)
        for start in range(0, hidden_dim, step):
            output += self._channel_part(tokens, size, slice(start, start + step))
        return output

    def _channel_part(self, tokens: Tensor, size: tuple[int, int], part: slice) -> Tensor:
        conv: Any = self.dwconv.dwconv
        hidden = linear(tokens, self.fc1.weight[part], self.fc1.bias[part])
        weight, bias = conv.weight[part], conv.bias[part]
        hidden = to_map(hidden.to(weight.dtype), size)
        hidden = F.conv2d(hidden, weight, bias, padding=1, groups=hidden.shape[1])
        hidden = F.gelu(hidden.to(tokens.dtype).flatten(2).transpose(1, 2))
        return linear(hidden, self.fc2.weight[:, part])


class MiTBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int, sr_ratio: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = EfficientSelfAttention(dim, num_heads, sr_ratio)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = MixFFN(dim, 4 * dim)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), size))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens), size))


class MiT(nn.Module):
    """Mix Transformer.

    Takes images of any size without padding; a side of n pixels gives ceil(n / stride) cells.

    Args:
        variant: widths, depths and heads of the stages.
        out_features: which of "res2", "res3", "res4", "res5" (strides 4, 8, 16, 32) to return.
        drop_path_rate: largest rate of stochastic depth, reached by the last block.
        in_channels: channels of the image.
        size_divisibility: what images are padded to. 0 for heads that take maps of any size,
            as SegFormerHead does; 32 for those that only double sizes, as SemSegFPNHead.
    """

    def __init__(
        self,
        variant: MiTVariant,
        *,
        out_features: Sequence[str] = FEATURES,
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        size_divisibility: int = 0,
    ):
        super().__init__()
        unknown = set(out_features) - set(FEATURES)
        if unknown or not out_features:
            raise ValueError(f"MiT offers the features {FEATURES}, got {tuple(out_features)}")
        self.activation_checkpointing = False
        self._size_divisibility = size_divisibility
        self._out_features = list(out_features)
        self._out_feature_channels = dict(zip(FEATURES, variant.dims))
        self._out_feature_strides = dict(zip(FEATURES, STRIDES))
        num_blocks = sum(variant.depths)
        rates = [drop_path_rate * i / (num_blocks - 1) for i in range(num_blocks)]
        for i, (dim, depth, heads, sr) in enumerate(
            zip(variant.dims, variant.depths, variant.num_heads, (8, 4, 2, 1))
        ):
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            embed = OverlapPatchEmbed(
                in_channels if i == 0 else variant.dims[i - 1], dim, kernel, stride
            )
            blocks = nn.ModuleList(MiTBlock(dim, heads, sr, rates.pop(0)) for _ in range(depth))
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", blocks)
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dim, eps=BLOCK_NORM_EPS))
        self.apply(_initialise)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised -> per feature (B, C, ceil(H / stride), ceil(W / stride))."""
        features = {}
        feature = image
        for i, name in enumerate(FEATURES, start=1):
            tokens, size = getattr(self, f"patch_embed{i}")(feature)
            for block in getattr(self, f"block{i}"):
                if self.activation_checkpointing and torch.is_grad_enabled():
                    tokens = checkpoint(block, tokens, size, use_reentrant=False)
                else:
                    tokens = block(tokens, size)
            tokens = getattr(self, f"norm{i}")(tokens)
            feature = to_map(tokens, size)
            features[name] = feature
        return {name: features[name] for name in self._out_features}

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes the blocks' activations again instead of keeping them."""
        self.activation_checkpointing = enable

    def compute_in(self, dtype: torch.dtype) -> None:
        """Cast the blocks' attention and MLPs, for inference.

        Patch embeddings, norms, residuals and the feature maps stay in float32: in bfloat16 they
        would make most of its error, and they are a tenth of the arithmetic.
        """
        for module in self.modules():
            if isinstance(module, EfficientSelfAttention):
                module.to(dtype).dtype = dtype
            elif isinstance(module, MixFFN):
                module.to(dtype)

    def output_shape(self) -> dict[str, Any]:
        """Channels and stride of the feature maps that it returns."""
        return {
            name: FeatureShape(self._out_feature_channels[name], self._out_feature_strides[name])
            for name in self._out_features
        }

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        kernel_height, kernel_width = module.kernel_size
        fan_out = kernel_height * kernel_width * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
