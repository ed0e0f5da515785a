"""What a config says to the programs around its model."""

from dataclasses import dataclass

from . import needs_detectron2  # noqa: F401  (says how to get it)

# isort: split
from detectron2.config import CfgNode


@dataclass(frozen=True)
class JobSpec:
    """What programs must know of a config besides what they make of it.

    Attributes:
        architecture: MODEL.META_ARCHITECTURE.
        weights: MODEL.WEIGHTS.
        needs_weights: whether the model has no trained ones without these.
        device: "cpu", "cuda" or "cuda:NUMBER".
        num_classes: K.
        hub_model: a Hugging Face model that keeps its classifier; "" for none.
        has_temporal: whether there is a temporal module: a video segmentor.
        has_prototypes: whether it needs the prototypes of every video: CFFM++.
        frame_offsets: references relative to the target; of no meaning without a temporal module.
        image_format: channel order of what models take, "RGB" or "BGR".
        crop_size: height and width of training frames, where INPUT.CROP says it in pixels.
        max_megapixels: of frames and masks; larger ones are an error.
        train, test: names of datasets.
        video_folders: YAML files that describe some of them.
        num_workers: processes that read.
        output_dir: the folder of results.
    """

    architecture: str
    weights: str
    needs_weights: bool
    device: str
    num_classes: int
    hub_model: str
    has_temporal: bool
    has_prototypes: bool
    frame_offsets: tuple[int, ...]
    image_format: str
    crop_size: tuple[int, int]
    max_megapixels: float
    train: tuple[str, ...]
    test: tuple[str, ...]
    video_folders: tuple[str, ...]
    num_workers: int
    output_dir: str

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "JobSpec":
        model, temporal, hub = cfg.MODEL, cfg.MODEL.TEMPORAL, cfg.MODEL.HF
        is_of_hub = model.IMAGE_ARCHITECTURE == "build_hf_segmenter"
        return cls(
            architecture=model.META_ARCHITECTURE,
            weights=model.WEIGHTS,
            needs_weights=model.IMAGE_ARCHITECTURE == "SemanticSegmentor",
            device=model.DEVICE,
            num_classes=model.SEM_SEG_HEAD.NUM_CLASSES,
            hub_model=hub.NAME if is_of_hub and not hub.NEW_CLASSIFIER else "",
            has_temporal=temporal.ENABLED,
            has_prototypes=temporal.ENABLED and temporal.PROTOTYPES.ENABLED,
            frame_offsets=tuple(temporal.FRAME_OFFSETS),
            image_format=cfg.INPUT.FORMAT,
            crop_size=tuple(cfg.INPUT.CROP.SIZE),
            max_megapixels=cfg.INPUT.MAX_MEGAPIXELS,
            train=tuple(cfg.DATASETS.TRAIN),
            test=tuple(cfg.DATASETS.TEST),
            video_folders=tuple(cfg.DATASETS.VIDEO_FOLDERS),
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            output_dir=cfg.OUTPUT_DIR,
        )
