"""Lets Mask2Former, and MaskDINO likewise, be imported without its and detectron2's compiled parts.

Named in MODEL.IMPORTS before the project's own package. What is compiled is used as it is. What is
not has an equal in Python, which is slower:

- deformable attention: an empty module, on which their code goes over to plain torch;
- detectron2's faster COCO scores, which their evaluator of instances asks for at its import:
  those of pycocotools, which detectron2's own evaluator takes then too.
"""

import importlib.util
import logging
import sys
import types
from typing import Any

import detectron2.evaluation  # noqa: F401  (decides first, by what is really there)
from pycocotools.cocoeval import COCOeval

FAST_COCO = "detectron2.evaluation.fast_eval_api"
ATTENTION = "MultiScaleDeformableAttention"

logger = logging.getLogger(f"cffm_plugin.{__name__}")


def stand_in(name: str, **contents: Any) -> None:
    module = types.ModuleType(name, __doc__)
    vars(module).update(contents)
    sys.modules[name] = module


if FAST_COCO not in sys.modules:  # detectron2.evaluation imports it where it can be imported
    stand_in(FAST_COCO, COCOeval_opt=COCOeval)
if ATTENTION not in sys.modules and importlib.util.find_spec(ATTENTION) is None:
    logger.warning("%s is not compiled: plain torch, slower, takes its place", ATTENTION)
    stand_in(ATTENTION)
