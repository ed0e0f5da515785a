"""Loading checkpoints safely and strictly, and converting those of others."""

from .checkpointer import SegmentorCheckpointer
from .official import Conversion, convert, recognise
from .verify import read_state_dict, verify_complete

__all__ = [
    "Conversion",
    "SegmentorCheckpointer",
    "convert",
    "read_state_dict",
    "recognise",
    "verify_complete",
]
