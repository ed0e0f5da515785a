"""A pyramid on the one map of a plain ViT, as in ViTDet (Li et al., ECCV 2022, section 3)."""

from collections.abc import Sequence
from typing import Any

from detectron2.modeling import Backbone
from detectron2.modeling.backbone import SimpleFeaturePyramid
from torch import Tensor, nn

from .timm_blueprint import FEATURE_OF_STRIDE, PLAIN_STRIDE
from .timm_probing import crop_to_cells, pad_to_multiple


class TimmPyramid(SimpleFeaturePyramid):
    """detectron2's SimpleFeaturePyramid under the names "res2" to "res5", for images of any size.

    Images are padded with zeros at the bottom and the right to multiples of 32, and the features
    cropped: a side of n pixels gives ceil(n / stride) cells.

    Args:
        net: a ``TimmBackbone`` of a plain ViT, or another backbone with a map of stride 16, "res4".
        out_features: which of "res2", "res3", "res4", "res5" (strides 4, 8, 16, 32) to return; None
            for all.
        out_channels: of every feature.

    Raises:
        ValueError: ``net`` has no such map, or the pyramid no such feature.
    """

    def __init__(
        self,
        net: Backbone,
        *,
        out_features: Sequence[str] | None = None,
        out_channels: int = 256,
    ):
        names = list(FEATURE_OF_STRIDE.values())
        wanted = names if out_features is None else list(out_features)
        if not wanted or set(wanted) - set(names):
            raise ValueError(f"A pyramid offers the features {tuple(names)}, got {tuple(wanted)}")
        source = FEATURE_OF_STRIDE[PLAIN_STRIDE]
        strides = {name: shape.stride for name, shape in net.output_shape().items()}
        if strides.get(source) != PLAIN_STRIDE:
            raise ValueError(
                f"A pyramid needs a map {source!r} of stride {PLAIN_STRIDE}, but the backbone "
                f"{getattr(net, 'name', type(net).__name__)} has {strides}. Take another model."
            )
        scales = [PLAIN_STRIDE / stride for stride in FEATURE_OF_STRIDE]
        super().__init__(net, source, out_channels, scales)
        for index, name in enumerate(names):
            if name not in wanted:  # or there would be weights without gradient
                delattr(self, f"simfp_{index + 2}")  # named by the stride's logarithm
        kept = [i for i, name in enumerate(names) if name in wanted]
        self.stages: list[nn.Module] = [self.stages[i] for i in kept]
        self._out_features = [names[i] for i in kept]
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._out_feature_strides = {
            name: stride for stride, name in FEATURE_OF_STRIDE.items() if name in wanted
        }

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W), normalised -> per feature (B, C', ceil(H / stride), ceil(W / stride))."""
        maps = super().forward(pad_to_multiple(image, max(FEATURE_OF_STRIDE)))
        return {
            name: crop_to_cells(feature, image.shape[-2:], self._out_feature_strides[name])
            for name, feature in maps.items()
        }

    @property
    def size_divisibility(self) -> int:
        return self.net.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, Any]:
        """None: it pads images itself."""
        return {}

    def set_activation_checkpointing(self, enable: bool) -> None:
        """See ``TimmBackbone``; the pyramid's own activations are kept."""
        self.net.set_activation_checkpointing(enable)
