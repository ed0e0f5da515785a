"""How images are normalised: as in the backbone's own pretraining, unless the config decides."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from detectron2.config import CfgNode, get_cfg

from ..config import set_values
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


@dataclass(frozen=True)
class _Choice:
    """A config's normalisation, and that of the pretraining.

    Attributes:
        given: what MODEL.PIXEL_MEAN, MODEL.PIXEL_STD and INPUT.FORMAT say.
        own: the pretraining's; None where it is not known, or does not fit the images.
        source: the pretraining; or why it is not known, "" for the backbones of others:
            detectron2's ResNets have weights of several kinds.
        key: what asks for the pretraining's; "" where nothing does.
    """

    given: Normalization
    own: Normalization | None
    source: str
    key: str

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "_Choice":
        model = cfg.MODEL
        given = _given_from_config(cfg)
        key, own, source = "", None, ""
        if model.IMAGE_ARCHITECTURE == "build_hf_segmenter":
            key = "MODEL.HF.OWN_NORMALIZATION" if model.HF.OWN_NORMALIZATION else ""
            own, source = _of_hugging_face(model.HF.NAME, needed=bool(key))
        elif model.BACKBONE.NAME == "build_timm_backbone":
            key = "MODEL.TIMM.OWN_NORMALIZATION" if model.TIMM.OWN_NORMALIZATION else ""
            own, source = _of_timm(model.TIMM.NAME)
        elif model.BACKBONE.NAME == "build_mit_backbone" and model.MIT.NAME.startswith("mit_b"):
            own, source = _rounded(*_IMAGENET), f"the pretraining of {model.MIT.NAME}"
        elif model.BACKBONE.NAME == "build_swin_backbone":
            own, source = _rounded(*_IMAGENET), f"the pretraining of {model.D2_SWIN.NAME}"
        channels = len(given.mean)
        if own is not None and channels != len(own.mean):
            own, source = None, f"images have {channels} channels"
        return cls(given, own, source, key)


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
    choice = _Choice.from_config(cfg)
    given, own, holds = choice.given, choice.own, choice.given
    reason = f"as in {choice.source}"
    if own is None:
        reason = f"from the config: {choice.source}" if choice.source else "from the config"
    elif given != own and choice.key:
        holds = own
        mean, std = list(own.mean), list(own.std)
        keys = {"MODEL.PIXEL_MEAN": mean, "MODEL.PIXEL_STD": std, "INPUT.FORMAT": own.image_format}
        set_values(cfg, keys)
        if given != _given_from_config(get_cfg()):  # somebody has set it
            logger.warning(
                "The config's normalisation, %s, is not used: the backbone was pretrained with "
                "another. To keep the config's, such as for a segmentor that was trained with it, "
                "set %s False.",
                given,
                choice.key,
            )
    elif given != own:
        reason = "from the config"
        logger.warning("The config's normalisation is not that of %s, %s", choice.source, own)
    logger.info("Input normalisation: %s (%s)", holds, reason)


def warn_of_unresolved_normalization(cfg: CfgNode) -> None:
    """Log a warning where a model is built from a config that ``resolve_normalization`` has to see.

    The model keeps to the config then, because the data loaders do.
    """
    choice = _Choice.from_config(cfg)
    if choice.own is not None and choice.key and choice.own != choice.given:
        logger.warning(
            "Input normalisation: %s (from the config). That of %s is %s. Call "
            "cffm_plugin.modeling.resolve_normalization(cfg) before building model and loaders, or "
            "set %s False to keep the config's.",
            choice.given,
            choice.source,
            choice.own,
            choice.key,
        )


def _given_from_config(cfg: CfgNode) -> Normalization:
    return _rounded(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT)


def _of_hugging_face(name: str, *, needed: bool) -> tuple[Normalization | None, str]:
    read_model_config(name)  # a model that is not there is an error, and not a matter of a log
    try:
        statistics = read_pixel_statistics(name)
    except ValueError as error:
        if needed:
            raise
        return None, str(error)
    if statistics is None:
        return None, f"{name} has no preprocessor_config.json that says how"
    return _rounded(*statistics), f"the preprocessor_config.json of {name}"


def _of_timm(name: str) -> tuple[Normalization | None, str]:
    try:
        return _rounded(*pixel_statistics(name)), f"the pretraining of timm's {name}"
    except ValueError as error:  # timm publishes no weights
        return None, str(error)


def _rounded(
    mean: Sequence[float], std: Sequence[float], image_format: str = "RGB"
) -> Normalization:
    """To 1e-4 grey levels, so that what a person wrote equals what a computer multiplied."""
    return Normalization(
        tuple(round(float(value), 4) for value in mean),
        tuple(round(float(value), 4) for value in std),
        image_format,
    )
