"""SegFormer's all-MLP decoder.

Xie et al., "SegFormer", NeurIPS 2021, section 3.2.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .label_maps import resize, upsample
from .losses import pixel_cross_entropy


def is_batch_norm(module: Any) -> bool:
    """torch's batch norms, and frozen ones of other libraries: what has running statistics."""
    return hasattr(module, "running_mean") and hasattr(module, "running_var")


class FusingConv(nn.Conv2d):
    """A 1x1 convolution without bias, then a norm and ReLU, as parts of it."""

    def __init__(self, in_channels: int, out_channels: int, norm: nn.Module | None):
        super().__init__(in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = norm
        self.activation: Any = F.relu

    def forward(self, feature: Tensor) -> Tensor:
        """(N, in_channels, h, w) -> (N, out_channels, h, w). ``SegFormerHead`` does the same by
        feature map."""
        for step in (super().forward, self.norm, self.activation):
            feature = feature if step is None else step(feature)
        return feature


class SegFormerHead(nn.Module):
    """Maps every feature map to one width, resizes them to the finest, fuses and classifies.

    Offers the contract of ``HeadEmbedding`` itself: the embedding is what stands
    before the classifier, at the stride of the finest feature map.
    """

    def __init__(
        self,
        input_shape: Mapping[str, Any],
        *,
        num_classes: int,
        embedding_channels: int = 256,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module | None] = nn.BatchNorm2d,
        ignore_value: int = 255,
        loss_weight: float = 1.0,
    ):
        """
        Args:
            input_shape: by name, the ``channels`` and ``stride`` of the feature maps to use.
            num_classes: K.
            embedding_channels: width of the embedding, C.
            dropout: channel dropout before the classifier.
            norm: makes the normalisation after fusing, of C channels; or None.
            ignore_value: label of pixels without a class.
            loss_weight: factor on the loss.
        """
        super().__init__()
        if not input_shape:
            raise ValueError("SegFormerHead needs at least one feature map")
        by_stride = sorted(input_shape.items(), key=lambda item: item[1].stride)
        self.in_features = [name for name, _ in by_stride]
        self.num_classes = num_classes
        self.embedding_channels = embedding_channels
        self.embedding_stride = by_stride[0][1].stride
        self.ignore_value = ignore_value
        self.loss_weight = loss_weight
        self.projections = nn.ModuleDict(
            {name: nn.Linear(shape.channels, embedding_channels) for name, shape in by_stride}
        )
        self.fuse = FusingConv(
            len(by_stride) * embedding_channels, embedding_channels, norm(embedding_channels)
        )
        nn.init.kaiming_normal_(self.fuse.weight, mode="fan_out", nonlinearity="relu")
        self.dropout = nn.Dropout2d(dropout)
        self.predictor = nn.Conv2d(embedding_channels, num_classes, kernel_size=1)

    def embed(self, features: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        """Feature maps (N, C_i, h_i, w_i) -> embedding (N, C, h, w), as the finest map; no context.

        The decoder maps each stage to C channels, resizes, concatenates the stages (coarsest
        first) and fuses them by a 1x1 convolution. Linear maps and resizing commute, so the
        convolution is applied here by stage, merged with the stage's own map and at the stage's
        own resolution: the same function with a tenth of the arithmetic.
        """
        maps = (self.fuse, *self.projections.values())
        if any(getattr(m, "stays_in_float32", False) for m in maps):  # none of them is called
            with torch.autocast(self.fuse.weight.device.type, enabled=False):
                return self._fuse({name: f.float() for name, f in features.items()}), None
        return self._fuse(features), None

    def _fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        size = features[self.in_features[0]].shape[2:]
        fuse_weight = self.fuse.weight.flatten(1)  # (C, stages * C)
        bias: Tensor | None = None
        norm: Any = self.fuse.norm
        if is_batch_norm(norm) and not norm.training:  # a linear map, merged with the others
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            fuse_weight = fuse_weight * scale[:, None]
            bias = norm.bias - norm.running_mean * scale
            norm = None
        by_stage = fuse_weight.split(self.embedding_channels, dim=1)
        weights = {}
        for name, fuse_stage in zip(reversed(self.in_features), by_stage):
            projection: Any = self.projections[name]
            weights[name] = (fuse_stage @ projection.weight)[:, :, None, None]  # (C, C_i, 1, 1)
            stage_bias = (fuse_stage * projection.bias).sum(dim=1)
            bias = stage_bias if bias is None else bias + stage_bias
        finest, *others = self.in_features
        fused = F.conv2d(features[finest], weights[finest], bias)
        for name in others:
            fused += resize(F.conv2d(features[name], weights[name]), size)
        if norm is not None:
            fused = norm(fused)
        return F.relu(fused, inplace=True)

    def classify(self, embedding: Tensor, context: None = None) -> Tensor:
        """Embedding (N, C, h, w) -> logits (N, K, h, w)."""
        return self.predictor(self.dropout(embedding))

    def forward(
        self, features: Mapping[str, Tensor], targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """As detectron2's heads: ``(None, losses)`` in training, ``(logits, {})`` in inference.

        Args:
            features: the backbone's feature maps.
            targets: training: labels (N, H, W) int64.

        Returns:
            logits are (N, K, h * stride, w * stride) with the embedding's stride.
        """
        logits = self.classify(*self.embed(features))
        if self.training:
            if targets is None:
                raise ValueError("training needs labels: each input a `sem_seg`")
            return None, self.losses(logits, targets)
        return upsample(logits, self.embedding_stride), {}

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Logits (N, K, h, w) and labels (N, H, W) -> the cross entropy over all pixels."""
        loss = pixel_cross_entropy(logits, targets, self.ignore_value)
        return {"loss_sem_seg": self.loss_weight * loss}
