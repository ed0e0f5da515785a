"""How images are normalised: as in the backbone's own pretraining, unless the config decides."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from detectron2.config import CfgNode, get_cfg

from .backbone import pixel_statistics
from .huggingface import read_model_config, read_pixel_statistics

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Normalization:
    """Per channel, in the order of ``image_format`` ("RGB" or "BGR"), in units of 0..255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_format: str

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:g}" for value in v) for v in (self.mean, self.std))
        return f"mean {mean}, std {std}, {self.image_format}"


def resolve_normalization(cfg: CfgNode) -> None:
    """Write the normalisation of the backbone's pretraining into a config, and log what holds.

    With ``MODEL.TIMM.OWN_NORMALIZATION`` and ``build_timm_backbone``, or with
    ``MODEL.HF.OWN_NORMALIZATION`` and ``build_hf_segmenter``, ``MODEL.PIXEL_MEAN``,
    ``MODEL.PIXEL_STD`` and ``INPUT.FORMAT`` become those of the model's pretraining, whatever they
    were. For other backbones, for models without published weights or without a
    preprocessor_config.json, and for images of another number of channels they stay. Model and data
    loaders read these three keys alone, so call it before any of them is built, as
    ``cffm_plugin.engine.setup`` does.

    Args:
        cfg: complete, with this package's keys, and not frozen; changed in place.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: of MODEL.HF, see
            ``build_hf_segmenter`` and ``read_pixel_statistics``.
    """
    given = _normalization_of_cfg(cfg)
    own, source = _pretraining_normalization(cfg)
    reason = f"as in {source}"
    if own is None:
        reason = f"from the config: {source}" if source else "from the config"
    elif given != own and (key := _key_of_own(cfg)):
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = list(own.mean), list(own.std)
        cfg.INPUT.FORMAT = own.image_format
        if given != _normalization_of_cfg(get_cfg()):  # somebody has set it
            logger.warning(
                "The config's normalisation, %s, is not used: the backbone was pretrained with "
                "another. To keep the config's, such as for a segmentor that was trained with it, "
                "set %s False.",
                given,
                key,
            )
    elif given != own:
        reason = "from the config"
        logger.warning("The config's normalisation is not that of %s, %s", source, own)
    logger.info("Input normalisation: %s (%s)", _normalization_of_cfg(cfg), reason)


def warn_of_unresolved_normalization(cfg: CfgNode) -> None:
    """Log a warning where a model is built from a config that ``resolve_normalization`` has to see.

    The model keeps to the config then, because the data loaders do.
    """
    own, source = _pretraining_normalization(cfg)
    key = _key_of_own(cfg)
    if own is not None and key and own != _normalization_of_cfg(cfg):
        logger.warning(
            "Input normalisation: %s (from the config). That of %s is %s. Call "
            "cffm_plugin.modeling.resolve_normalization(cfg) before building model and loaders, or "
            "set %s False to keep the config's.",
            _normalization_of_cfg(cfg),
            source,
            own,
            key,
        )


def _is_hugging_face(cfg: CfgNode) -> bool:
    return cfg.MODEL.IMAGE_ARCHITECTURE == "build_hf_segmenter"


def _key_of_own(cfg: CfgNode) -> str:
    """The key that asks for the normalisation of the model's pretraining; "" where none does."""
    if _is_hugging_face(cfg):
        return "MODEL.HF.OWN_NORMALIZATION" if cfg.MODEL.HF.OWN_NORMALIZATION else ""
    is_timm = cfg.MODEL.BACKBONE.NAME == "build_timm_backbone"
    return "MODEL.TIMM.OWN_NORMALIZATION" if is_timm and cfg.MODEL.TIMM.OWN_NORMALIZATION else ""


def _normalization_of_cfg(cfg: CfgNode) -> Normalization:
    return _rounded(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT)


def _pretraining_normalization(cfg: CfgNode) -> tuple[Normalization | None, str]:
    """The normalisation of the backbone's pretraining, and the pretraining; or None, and why.

    None and "" for the backbones of others: detectron2's ResNets have weights of several kinds.
    """
    backbone, mit, model = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.MIT.NAME, cfg.MODEL.TIMM.NAME
    if _is_hugging_face(cfg):
        name = cfg.MODEL.HF.NAME
        read_model_config(name)  # a model that is not there is an error, and not a matter of a log
        try:
            statistics = read_pixel_statistics(name)
        except ValueError as error:
            if cfg.MODEL.HF.OWN_NORMALIZATION:
                raise
            return None, str(error)
        if statistics is None:
            return None, f"{name} has no preprocessor_config.json that says how"
        own, source = _rounded(*statistics), f"the preprocessor_config.json of {name}"
    elif backbone == "build_mit_backbone" and mit.startswith("mit_b"):
        own, source = _rounded(*_IMAGENET), f"the pretraining of {mit}"
    elif backbone == "build_swin_backbone":
        own, source = _rounded(*_IMAGENET), f"the pretraining of {cfg.MODEL.D2_SWIN.NAME}"
    elif backbone != "build_timm_backbone":
        return None, ""
    else:
        try:
            own = _rounded(*pixel_statistics(model))
        except ValueError as error:  # timm publishes no weights
            return None, str(error)
        source = f"the pretraining of timm's {model}"
    channels = len(cfg.MODEL.PIXEL_MEAN)
    if channels != len(own.mean):
        return None, f"images have {channels} channels"
    return own, source


def _rounded(
    mean: Sequence[float], std: Sequence[float], image_format: str = "RGB"
) -> Normalization:
    """To 1e-4 grey levels, so that what a person wrote equals what a computer multiplied."""
    return Normalization(
        tuple(round(float(value), 4) for value in mean),
        tuple(round(float(value), 4) for value in std),
        image_format,
    )
