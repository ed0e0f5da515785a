"""SegFormer of Hugging Face's transformers, image by image: what a stream is compared with."""

from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from ..modeling.backbone import MIT_VARIANTS


def build_peer(cfg: CfgNode) -> nn.Module:
    """An untrained SegFormer of the size of the config's MiT, head and classes.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the config's backbone is no MiT.
    """
    try:
        from transformers import SegformerConfig, SegformerForSemanticSegmentation
    except ImportError as error:
        message = "--peer needs the library transformers: pip install transformers"
        raise ImportError(message) from error
    if cfg.MODEL.BACKBONE.NAME != "build_mit_backbone":
        raise ValueError(
            f"--peer compares with SegFormer, whose backbone is MiT; MODEL.BACKBONE.NAME is "
            f"{cfg.MODEL.BACKBONE.NAME}"
        )
    variant = MIT_VARIANTS[cfg.MODEL.MIT.NAME]
    sizes: dict[str, Any] = {
        "hidden_sizes": list(variant.dims),
        "depths": list(variant.depths),
        "num_attention_heads": list(variant.num_heads),
        "decoder_hidden_size": cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM,
        "num_labels": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
    }
    model: Any = SegformerForSemanticSegmentation(SegformerConfig(**sizes))
    return model.eval().to(cfg.MODEL.DEVICE)


def peer_step(model: Any, image: Tensor) -> Tensor:
    """A normalised image (1, 3, H, W) -> its label map (H, W), as transformers' users do it."""
    logits = model(pixel_values=image).logits
    full = F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
    return full.argmax(dim=1)[0]


def peer_backbone_step(model: Any, image: Tensor) -> Any:
    """A normalised image -> the four feature maps."""
    return model.segformer(image, output_hidden_states=True).hidden_states
