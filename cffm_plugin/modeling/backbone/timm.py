"""Any timm model with feature maps as a detectron2 backbone: Swin, ConvNeXt, EfficientNet, ..."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.build import ShapeSpec
from torch import Tensor

from ...core.head_embedding import evaluating
from ...core.nested import to_channels_last
from .timm_blueprint import check_name, draw_blueprint, list_levels
from .timm_hiera import extract, timm
from .timm_probing import check_tables, crop_to_cells, pad_to_multiple
from .timm_pyramid import TimmPyramid
from .timm_windows import lay_out_windows_by_size

logger = logging.getLogger(__name__)


class TimmBackbone(Backbone):
    """A timm model's feature maps under detectron2's names, whatever timm numbers them.

    Takes images of any size; a side of n pixels gives ceil(n / stride) cells. Where the model needs
    other sizes, images are padded with zeros at the bottom and the right and the features cropped.
    The model's BatchNorm is torch's own: with few images per process, think of
    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm``.

    A plain ViT offers one feature, "res4": the last block's map, normalised, without class and
    register tokens. ``TimmPyramid`` makes others of it.

    Args:
        name: as in ``timm.list_models()``, with or without the tag of its pretrained weights.
        out_features: which of "res2", "res3", "res4", "res5" (strides 4, 8, 16, 32) to return; None
            for all that the model has.
        pretrained: fetch timm's weights, by timm's own mechanism (its cache, or the network).
        checkpoint: a local file with the model's weights as timm publishes them; see
            ``load_checkpoint``.
        drop_path_rate: largest rate of stochastic depth.
        in_channels: channels of the image.
        size_divisibility: what detectron2 pads images to. 0 for heads that take maps of any size,
            as SegFormerHead does; 32 for those that only double sizes, as SemSegFPNHead.
        freeze: the model has no gradient, keeps no activations, and stays in evaluation mode.

    Raises:
        ValueError: timm has no such model; the model lacks a feature, an option, or a way to take
            images of any size; both ``pretrained`` and ``checkpoint`` are given; or what
            ``load_checkpoint`` raises.
    """

    def __init__(
        self,
        name: str,
        *,
        out_features: Sequence[str] | None = None,
        pretrained: bool = False,
        checkpoint: str = "",
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        size_divisibility: int = 0,
        freeze: bool = False,
    ):
        super().__init__()
        if pretrained and checkpoint:
            raise ValueError(f"timm's {name}: weights are either pretrained or in {checkpoint}")
        blueprint = draw_blueprint(name, drop_path_rate, in_channels)
        if out_features is None:
            out_features = list(blueprint.levels)
        missing = set(out_features) - set(blueprint.levels)
        if missing or not out_features:
            raise ValueError(
                f"timm's {name} offers the features {list_levels(blueprint.levels)}, "
                f"got {tuple(out_features)}"
            )
        levels = {n: level for n, level in blueprint.levels.items() if n in out_features}
        self.name = name
        self._size_divisibility = size_divisibility
        self._out_features = list(levels)
        self._out_feature_channels = {n: level.channels for n, level in levels.items()}
        self._out_feature_strides = {n: level.stride for n, level in levels.items()}
        self._channels_last = blueprint.channels_last
        self._multiple = blueprint.multiple
        self.extractor = timm.create_model(
            name,
            pretrained=pretrained,
            features_only=True,
            out_indices=[level.index for level in levels.values()],
            **blueprint.options,
        )
        _drop_unused_blocks(self.extractor)
        lay_out_windows_by_size(self.extractor)
        with evaluating(self.extractor):
            check_tables(name, self.extractor, self._multiple, in_channels)
        # Convolutions of narrow and depthwise layers are a quarter faster so, on a CPU too.
        to_channels_last(self.extractor)
        if checkpoint:
            self.load_checkpoint(checkpoint)
        self._frozen = freeze
        if freeze:
            self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised -> per feature (B, C, ceil(H / stride), ceil(W / stride))."""
        size, features = image.shape[-2:], {}
        if self._frozen:  # nothing has a gradient then; no_grad would not be exported
            image = image.detach()
        maps = extract(self.extractor, pad_to_multiple(image, self._multiple))
        for name, feature in zip(self._out_features, maps):
            if self._channels_last:
                feature = feature.permute(0, 3, 1, 2)
            features[name] = crop_to_cells(feature, size, self._out_feature_strides[name])
        return features

    def train(self, mode: bool = True) -> "TimmBackbone":
        """As for any module; a frozen one stays in evaluation mode."""
        return super().train(mode and not self._frozen)

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility

    def set_activation_checkpointing(self, enable: bool) -> None:
        """Whether training computes activations again instead of keeping them, as timm does it.

        A frozen model keeps none, and stays as it is.

        Raises:
            ValueError: timm's model does not offer it.
        """
        if self._frozen:
            return
        model = getattr(self.extractor, "model", self.extractor)
        try:
            model.set_grad_checkpointing(enable)
        except (AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f"timm's {self.name} offers no activation checkpointing") from error

    def load_checkpoint(self, path: str) -> None:
        """Load a local file with this model's weights, in timm's names, classifier or not.

        Patch and position embeddings of other sizes are resampled as timm does it.

        Args:
            path: .safetensors, or a pickle (.pth, .bin) that holds nothing but weights.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it can't be read, or holds another model: a weight is missing, has another
                shape, or is one that timm's model of this name does not have.
        """
        weights = self._read(path)
        given = {_canonical(key): key for key in weights}
        wanted = {_canonical(key): key for key in self.extractor.state_dict()}
        problems = [
            f"{key} is not in the file"
            for canonical, key in wanted.items()
            if canonical not in given and not key.endswith("num_batches_tracked")
        ]
        loaded = {wanted[c]: weights[key] for c, key in given.items() if c in wanted}
        for key, ours in self.extractor.state_dict().items():
            if key in loaded and loaded[key].shape != ours.shape:
                problems.append(
                    f"{key} has shape {tuple(loaded[key].shape)} in the file, {tuple(ours.shape)} "
                    "in the model"
                )
        unused = [key for canonical, key in given.items() if canonical not in wanted]
        known = _names_of_classifier_model(self.name)
        problems += [f"{key} is not in the model" for key in unused if _canonical(key) not in known]
        if problems:
            more = [f"... and {len(problems) - 6} more"] if len(problems) > 6 else []
            listed = "\n  ".join([*problems[:6], *more])
            raise ValueError(
                f"{path} does not hold the weights of timm's {self.name}:\n  {listed}\n"
                "Name the model that the file was saved from."
            )
        self.extractor.load_state_dict(loaded, strict=False)  # all but BatchNorm's counters
        logger.info(
            "%s: loaded %d weights into timm's %s; not needed for its feature maps: %s",
            path,
            len(loaded),
            self.name,
            ", ".join(sorted(unused)) or "none",
        )

    def _read(self, path: str) -> dict[str, Tensor]:
        file = Path(path).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f"There is no checkpoint {path} for timm's {self.name}")
        try:
            weights = timm.models.load_state_dict(str(file), device="cpu", weights_only=True)
            model = getattr(self.extractor, "model", None)  # where names are the whole model's
            if model is None:
                return weights
            # What timm puts its own files through, a function of this name in each model's module.
            adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
            return weights if adapt is None else adapt(weights, model)
        except Exception as error:  # whatever the readers of two formats raise
            raise ValueError(
                f"{path} can't be read as weights of timm's {self.name}: {error}"
            ) from error


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone | TimmPyramid:
    """The timm model that ``cfg.MODEL.TIMM`` names; a plain ViT with a pyramid on it.

    Raises:
        ValueError: what ``TimmBackbone`` and ``TimmPyramid`` raise.
    """
    node = cfg.MODEL.TIMM
    plain = draw_blueprint(node.NAME, node.DROP_PATH_RATE, input_shape.channels).plain
    backbone = TimmBackbone(
        node.NAME,
        out_features=None if plain else node.OUT_FEATURES,
        pretrained=node.PRETRAINED,
        checkpoint=node.CHECKPOINT,
        drop_path_rate=node.DROP_PATH_RATE,
        in_channels=input_shape.channels,
        size_divisibility=node.SIZE_DIVISIBILITY,
        freeze=node.FREEZE,
    )
    if not plain:
        return backbone
    return TimmPyramid(backbone, out_features=node.OUT_FEATURES, out_channels=node.PYRAMID_CHANNELS)


def pixel_statistics(name: str) -> tuple[list[float], list[float]]:
    """The normalisation that a timm model was pretrained with: mean and standard deviation.

    Both per channel, RGB, in units of 0..255: for ``MODEL.PIXEL_MEAN`` and ``MODEL.PIXEL_STD`` with
    ``INPUT.FORMAT RGB``, where ``resolve_normalization`` writes them.

    Raises:
        ValueError: timm has no such model, or publishes no weights of it.
    """
    check_name(name)
    pretraining = timm.get_pretrained_cfg(name)
    if pretraining is None or not pretraining.has_weights:
        raise ValueError(f"timm publishes no pretrained weights of {name}")
    return [255 * m for m in pretraining.mean], [255 * s for s in pretraining.std]


def _drop_unused_blocks(model: Any) -> None:
    """EfficientNets keep blocks behind the last feature asked for; other extractors drop them."""
    trimmed = (timm.models.EfficientNetFeatures, timm.models.MobileNetV3Features)
    if isinstance(model, trimmed):
        last = model.feature_info.module_name()[-1]  # "blocks.4"
        del model.blocks[int(last.split(".")[1]) + 1 :]


def _canonical(key: str) -> str:
    """One name for a weight of a model and of its feature extractor ("layers.0", "layers_0")."""
    return key.removeprefix("model.").replace("_", ".")


def _names_of_classifier_model(name: str) -> set[str]:
    """Of all weights and buffers of the whole model, classifier included."""
    with torch.device("meta"):
        model = timm.create_model(name)
    names = [n for n, _ in model.named_parameters()] + [n for n, _ in model.named_buffers()]
    return {_canonical(n) for n in names}
