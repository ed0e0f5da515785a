"""Reading foreign checkpoint files, and proving that converted weights fill a whole model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core import CFFM
from ..modeling import CFFMSegmentor, MiT, SegFormerHead, TemporalHead
from ..modeling.backbone import MIT_VARIANTS


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file, whichever framework wrapped them.

    Only tensors and plain containers are loaded; no code in the file is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file can't be read, or holds no state dict.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint file {path}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not checkpoints
        raise ValueError(
            f"{path} can't be read as a PyTorch checkpoint of plain tensors ({error}). Is the "
            "download complete? Its size should be that which the authors' page shows."
        ) from error
    for key in ("state_dict", "model"):  # MMCV, detectron2
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def verify_complete(weights: Mapping[str, Tensor]) -> int:
    """Prove, by a strict load, that weights in our names fill a model of their sizes.

    Args:
        weights: of a whole CFFM, or of an encoder alone.

    Returns:
        the number of the model's parameters.

    Raises:
        ValueError: the encoder is none of MiT's variants, or weights are missing or left over.
    """
    with torch.device("meta"):  # sizes only: nothing is allocated or initialised
        model = _model_of(weights)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the converted weights do not fill the model: {error}") from error
    return sum(parameter.numel() for parameter in model.parameters())


def _model_of(weights: Mapping[str, Tensor]) -> nn.Module:
    """The model that has the sizes of the weights."""
    backbone = MiT(MIT_VARIANTS[mit_variant(weights)])
    if "sem_seg_head.predictor.weight" not in weights:
        return nn.ModuleDict({"backbone": backbone})
    num_classes, dim = weights["sem_seg_head.predictor.weight"].shape[:2]
    head = SegFormerHead(
        backbone.output_shape(), num_classes=num_classes, embedding_channels=dim, norm="BN"
    )
    depth = sum(name.endswith(".mining.window_bias") for name in weights)
    num_heads = weights["temporal.cffm.blocks.0.mining.window_bias"].shape[0]
    temporal = TemporalHead(CFFM(dim, depth, num_heads=num_heads), num_classes=num_classes)
    return CFFMSegmentor(
        backbone=backbone,
        sem_seg_head=head,
        pixel_mean=[0.0] * 3,
        pixel_std=[1.0] * 3,
        temporal=temporal,
    )


def mit_variant(weights: Mapping[str, Tensor]) -> str:
    """Name of the MiT whose sizes the encoder's weights have."""
    dims, depths = [], []
    for stage in range(1, 5):
        embed = weights.get(f"backbone.patch_embed{stage}.proj.weight")
        if embed is None:
            raise ValueError(f"no backbone.patch_embed{stage}.proj.weight: this is no MiT encoder")
        dims.append(embed.shape[0])
        prefix = f"backbone.block{stage}."
        depths.append(len({k.split(".")[2] for k in weights if k.startswith(prefix)}))
    for name, variant in MIT_VARIANTS.items():
        if (variant.dims, variant.depths) == (tuple(dims), tuple(depths)):
            return name
    raise ValueError(f"widths {dims} and depths {depths} are those of no MiT, B0 to B5")
