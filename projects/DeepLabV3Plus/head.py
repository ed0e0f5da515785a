"""The heads of Detectron2's DeepLab project for any image size; MODEL.IMPORTS names this file."""

from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.projects.deeplab import DeepLabV3Head, DeepLabV3PlusHead


@SEM_SEG_HEADS_REGISTRY.register()
class AnySizeDeepLabV3PlusHead(DeepLabV3PlusHead):
    """Pools over the whole image, whatever its size.

    Detectron2's head pools over windows of the training crop, which must tile every test image.
    The frames of VSPW have many sizes.
    """

    @classmethod
    def from_config(cls, cfg, input_shape):
        return super().from_config(cfg, input_shape) | {"train_size": None}


@SEM_SEG_HEADS_REGISTRY.register()
class AnySizeDeepLabV3Head(DeepLabV3Head):
    """The same of DeepLabV3."""

    def __init__(self, cfg, input_shape):
        cfg = cfg.clone()
        cfg.defrost()
        cfg.INPUT.CROP.ENABLED = False  # nothing else of the crop is read
        super().__init__(cfg, input_shape)
