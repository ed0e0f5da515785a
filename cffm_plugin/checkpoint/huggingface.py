"""Hugging Face's SegFormer: ``nvidia/mit-b*``, ``nvidia/segformer-b*``, and fine-tuned ones.

Two spellings are read: that of the files on the hub, which ``save_pretrained`` writes whatever the
version, and that of the modules since transformers 5, which ``torch.save(model.state_dict(), ...)``
writes. Stages count from 0. The decoder is the authors', so that the whole segmentor converts.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..modeling.huggingface import PixelStatistics, class_names, read_pixel_statistics
from .model_info import ModelInfo
from .rules import TENSOR, Drop, Format, Rename, in_block, numbered

PREPROCESSOR = "preprocessor_config.json"

logger = logging.getLogger(__name__)

MODEL = r"(?:segformer\.)?"
EMBEDDINGS = (r"encoder\.patch_embeddings\.([0-3])", r"stages\.([0-3])\.patch_embeddings")
STAGE_NORMS = (r"encoder\.layer_norm\.([0-3])", r"stages\.([0-3])\.layer_norm")
BLOCK = MODEL + r"(?:encoder\.block|stages)\.([0-3])\.(?:blocks\.)?(\d+)\."

HUGGING_FACE = Format(
    "Hugging Face SegFormer",
    MODEL + r"(encoder\.patch_embeddings\.0|stages\.0\.patch_embeddings)\.proj\.weight",
    (
        *(
            Rename(MODEL + theirs + layer + TENSOR, numbered(ours, +1))
            for spellings, layer, ours in [
                (EMBEDDINGS, r"\.proj", r"backbone.patch_embed{stage}.proj.\2"),
                (EMBEDDINGS, r"\.layer_norm", r"backbone.patch_embed{stage}.norm.\2"),
                (STAGE_NORMS, "", r"backbone.norm{stage}.\2"),
            ]
            for theirs in spellings
        ),
        *(
            Rename(BLOCK + theirs + TENSOR, in_block(ours))
            for theirs, ours in [
                (r"(?:layer_norm_1|layernorm_before)", "norm1"),
                (r"(?:layer_norm_2|layernorm_after)", "norm2"),
                (r"attention\.(?:self\.query|q_proj)", "attn.q"),
                (r"attention\.(?:self|sequence_reduction)\.(?:sr|sequence_reduction)", "attn.sr"),
                (r"attention\.(?:self|sequence_reduction)\.layer_norm", "attn.norm"),
                (r"attention\.(?:output\.dense|o_proj)", "attn.proj"),
                (r"mlp\.(?:dense1|fc1)", "mlp.fc1"),
                (r"mlp\.dwconv\.dwconv", "mlp.dwconv.dwconv"),
                (r"mlp\.(?:dense2|fc2)", "mlp.fc2"),
            ]
        ),
        *(  # the rows of our kv are [k; v]
            Rename(BLOCK + theirs + TENSOR, in_block("attn.kv"), part=part, parts=2)
            for part, theirs in enumerate(
                [r"attention\.(?:self\.key|k_proj)", r"attention\.(?:self\.value|v_proj)"]
            )
        ),
        Rename(
            r"decode_head\.(?:linear_c|linear_projections)\.([0-3])\.proj" + TENSOR,
            numbered(r"sem_seg_head.projections.res{stage}.\2", +2),
        ),
        Rename(r"decode_head\.linear_fuse\.weight", "sem_seg_head.fuse.weight"),
        Rename(r"decode_head\.batch_norm\.(\w+)", r"sem_seg_head.fuse.norm.\1"),
        Rename(r"decode_head\.classifier" + TENSOR, r"sem_seg_head.predictor.\1"),
        Drop(r"classifier" + TENSOR, "the image classifier"),
    ),
)


def hub_info(path: str | Path, num_classes: int | None) -> ModelInfo:
    """What a folder of the hub says of its model beside the weights.

    Class names are those of ``id2label`` in config.json, normalisation is that of
    preprocessor_config.json.

    Args:
        path: the folder, or a file in it.
        num_classes: of the segmentor; None for an encoder, of which no names are kept.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    labels = _read_json(folder / "config.json").get("id2label")
    names = () if num_classes is None else class_names(labels, num_classes)
    statistics = _pixel_statistics(folder)
    if statistics is None:
        return ModelInfo(class_names=names)
    mean, std, image_format = statistics
    return ModelInfo(class_names=names, pixel_mean=mean, pixel_std=std, image_format=image_format)


def _pixel_statistics(folder: Path) -> PixelStatistics | None:
    """What the processor of transformers does that the folder describes; None without one."""
    if not (folder / PREPROCESSOR).is_file():
        return None
    try:
        return read_pixel_statistics(str(folder))
    except ModuleNotFoundError as error:
        logger.warning("What %s says of pixels is not kept: %s", folder / PREPROCESSOR, error)
        return None


def _read_json(file: Path) -> Mapping[str, Any]:
    """{} where there is no such file, or something else in it."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        logger.warning("%s can't be read, so what it says is not kept: %s", file, error)
        return {}
    return content if isinstance(content, Mapping) else {}
