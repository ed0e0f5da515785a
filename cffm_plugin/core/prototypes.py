"""CFFM++: attention from a frame to the global prototypes of its video.

Sun et al., "Learning Local and Global Temporal Contexts for Video Semantic Segmentation", TPAMI
2024 (arXiv 2204.03330 v2), section on global temporal contexts.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .cffm import Mlp


class PrototypeBlock(nn.Module):
    """One transformer block whose keys and values come from prototypes.

    Every position of the frame sees the same prototypes; there is no position bias and no mask.

    Args:
        dim: channels, C.
        num_heads: attention heads; must divide ``dim``.
        mlp_ratio: hidden width of the MLP over ``dim``.
    """

    def __init__(self, dim: int, num_heads: int = 8, mlp_ratio: float = 4.0):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads must divide dim, got {num_heads} heads for {dim} channels")
        self.dim = dim
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, frame: Tensor, prototypes: Tensor) -> Tensor:
        """
        Args:
            frame: (B, C, H, W).
            prototypes: (B, P, C), of each frame's video.

        Returns:
            (B, C, H, W).

        Raises:
            ValueError: the prototypes are of another width or number of videos.
        """
        B, C, H, W = frame.shape
        if prototypes.dim() != 3 or prototypes.shape[0] != B or prototypes.shape[2] != C:
            raise ValueError(
                f"prototypes of {B} frames with {C} channels are ({B}, P, {C}), got "
                f"{tuple(prototypes.shape)}. Were they made with another model?"
            )
        tokens = frame.flatten(2).transpose(1, 2)  # (B, H * W, C)
        tokens = tokens + self.attend(self.norm1(tokens), self.norm1(prototypes))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).reshape(B, C, H, W)

    def attend(self, tokens: Tensor, prototypes: Tensor) -> Tensor:
        """(B, N, C) queries and (B, P, C) prototypes, both normalised -> (B, N, C)."""
        B, N, C = tokens.shape
        heads = self.num_heads
        query = self.query(tokens).view(B, N, heads, C // heads).transpose(1, 2)
        key_value = self.key_value(prototypes).view(B, -1, 2, heads, C // heads)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(B, N, C))


def prototype_frames(num_frames: int, num_samples: int = 10) -> list[int]:
    """Which frames of a video its prototypes are made of.

    Frame int((i + 0.5) * (n // 10)) for i = 0..9; in a video of fewer frames these repeat, and the
    distinct ones are used.

    Raises:
        ValueError: a video without frames.
    """
    if num_frames < 1:
        raise ValueError("a video needs at least one frame to have prototypes")
    stride = num_frames // num_samples
    return sorted({int((i + 0.5) * stride) for i in range(num_samples)})
