"""Looking at the clips of a dataset: what tools/visualize_data.py runs."""

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils.logger import setup_logger

from ..config import load_config
from ..data import (
    ClipMapper,
    build_clip_train_loader,
    check_registered,
    names_and_colors,
    numbered_classes,
)
from ..data.clip_records import evenly_spaced_clips
from ..files import whole_file
from ..libraries import OptionalLibrary
from ..pictures.clip_sheet import clip_sheet
from ..pictures.windows import show_picture
from .launch import complete_config

cv2 = OptionalLibrary("cv2", "A window")

Clip = Mapping[str, Any]

_EPILOG = """
dataloader: clips as training gets them, drawn and augmented. annotation: clips of the dataset as it
is, whole frames at their own size, from the start of every video on.
"""
