#!/usr/bin/env python3
"""DeepLabV3+ on video: the ResNet and the head of Detectron2's DeepLab project under CFFM."""

from detectron2.engine import default_argument_parser
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.projects.deeplab import DeepLabV3PlusHead

from cffm_plugin.engine import launch_job, main


@SEM_SEG_HEADS_REGISTRY.register()
class AnySizeDeepLabV3PlusHead(DeepLabV3PlusHead):
    """Pools over the whole image, whatever its size.

    Detectron2's head pools over windows of the training crop, which must tile every test image.
    The frames of VSPW have many sizes.
    """

    @classmethod
    def from_config(cls, cfg, input_shape):
        return super().from_config(cfg, input_shape) | {"train_size": None}


if __name__ == "__main__":
    launch_job(main, default_argument_parser().parse_args())
