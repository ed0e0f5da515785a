"""Video semantic segmentation: CFFM, and any image segmentor as a video segmentor.

    model = cffm_plugin.create_model("cffm_mit_b1", num_classes=19)  # or wrap(net), or
    model = cffm_plugin.from_pretrained("owner/name")

needs torch alone; what is named here is imported when it is used. For detectron2,
``add_cffm_config(cfg)`` also registers the meta-architecture, backbones, heads and datasets.

Paper: Sun et al., "Coarse-to-Fine Feature Mining for Video Semantic Segmentation", CVPR 2022.
"""

from typing import TYPE_CHECKING, Any

from .libraries import import_part

if TYPE_CHECKING:
    from .clip_dataset import VideoFolder
    from .config import add_cffm_config
    from .core import CFFM, CFFMRecall, StreamingSegmentor
    from .models import create_model, from_pretrained, wrap
    from .video_segmentor import VideoSegmentor

__version__ = "0.1.0"
__all__ = [
    "CFFM",
    "CFFMRecall",
    "StreamingSegmentor",
    "VideoFolder",
    "VideoSegmentor",
    "__version__",
    "add_cffm_config",
    "create_model",
    "from_pretrained",
    "wrap",
]

# Name -> the module that holds it; "" for a module itself.
_WHERE = {
    "CFFM": "core",
    "CFFMRecall": "core",
    "StreamingSegmentor": "core",
    "VideoFolder": "clip_dataset",
    "VideoSegmentor": "video_segmentor",
    "add_cffm_config": "config",
    "create_model": "models",
    "from_pretrained": "models",
    "wrap": "models",
} | dict.fromkeys(
    (
        *("checkpoint", "cli", "config", "core", "data", "doctor", "engine", "evaluation"),
        *("export", "hub", "inference", "model_zoo", "modeling", "report", "synthetic", "video"),
    ),
    "",
)


def __getattr__(name: str) -> Any:
    return import_part(__name__, name, _WHERE)
