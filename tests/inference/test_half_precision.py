"""Half precision: weights cast once, the same labels, and the model itself left alone."""

import copy

import pytest
import torch
from huggingface_models import *  # noqa: F403
from tiny_models import make_clip, make_parts

from cffm_plugin.core import attend
from cffm_plugin.inference import StreamingSegmentor, half_precision_copy
