"""What to write where an image segmentor stands in the place of its video segmentor."""

from detectron2.config import CfgNode
from detectron2.modeling import build_model

from .video_segmentor import CFFMSegmentor


def how_to_wrap(name: str) -> str:
    """What makes a video segmentor of an image segmentor's meta-architecture."""
    # The two are what holds anyway, and detectron2's default, which has no semantic head.
    named = name not in ("SemanticSegmentor", "GeneralizedRCNN")
    image = f" and MODEL.IMAGE_ARCHITECTURE {name}" if named else ""
    return (
        f"Use MODEL.META_ARCHITECTURE CFFMSegmentor{image}: with MODEL.TEMPORAL.ENABLED False it "
        "is the image segmentor, with the same weights; with True it has the temporal part on top."
    )


def build_segmentor(cfg: CfgNode) -> CFFMSegmentor:
    """The model of a config, for what works with its stages.

    Raises:
        ValueError: it is of another meta-architecture.
    """
    model = build_model(cfg)
    if not isinstance(model, CFFMSegmentor):
        name = cfg.MODEL.META_ARCHITECTURE
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {name}, and streams, as of the demo, are those of a "
            f"CFFMSegmentor. {how_to_wrap(name)}"
        )
    return model
