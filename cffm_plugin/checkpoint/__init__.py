"""Loading checkpoints safely and strictly, and converting those of others."""

from .. import needs_detectron2  # noqa: F401  (says how to get it)
from .checkpointer import SegmentorCheckpointer
from .conversion import FORMATS, Conversion, convert, find_rule, is_classifier, recognise
from .half_precision import (
    half_precision,
    halve_checkpoint,
    write_half_precision,
    write_safetensors,
)
from .huggingface import HUGGING_FACE, hub_info
from .loading import build_and_load
from .model_info import INFO_KEY, ModelInfo, check_checkpoint, no_checkpoint, read_model_info
from .reading import read_state_dict
from .saved import FINAL, newest_sound_checkpoint, saved_checkpoints
from .sizes import Sizes, config_for, overrides_for, sizes_of
from .stored_config import config_of_text, load_stored_config
from .verify import verify_complete

__all__ = [
    "FORMATS",
    "HUGGING_FACE",
    "FINAL",
    "INFO_KEY",
    "Conversion",
    "ModelInfo",
    "SegmentorCheckpointer",
    "Sizes",
    "build_and_load",
    "check_checkpoint",
    "config_for",
    "config_of_text",
    "convert",
    "find_rule",
    "half_precision",
    "halve_checkpoint",
    "hub_info",
    "is_classifier",
    "load_stored_config",
    "newest_sound_checkpoint",
    "no_checkpoint",
    "overrides_for",
    "read_model_info",
    "read_state_dict",
    "recognise",
    "saved_checkpoints",
    "sizes_of",
    "verify_complete",
    "write_half_precision",
    "write_safetensors",
]
