"""Writing a model as a folder that others can load."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import (
    ModelInfo,
    build_and_load,
    load_stored_config,
    write_half_precision,
    write_safetensors,
)
from ..engine import complete_config
from ..files import write_text
from ..hub_files import WEIGHTS
from ..inference import known_classes
from ..results import Results
from .card import model_card
from .loading import CONFIG, load_model

CARD = "README.md"
_NAMES_OF_CODE = ("IMPORTS", "CONFIG_ADDERS")

logger = logging.getLogger(__name__)


def save_pretrained(
    model: nn.Module | str | Path,
    cfg: CfgNode | None,
    folder: str | Path,
    *,
    name: str = "",
    half: bool = False,
    results: Sequence[str | os.PathLike] = (),
    licence: str = "",
    overwrite: bool = False,
) -> Path:
    """Write model.safetensors, config.yaml and a model card, for ``cffm_plugin.from_pretrained``.

    What was written is loaded again. Names and colours of the classes stand in the header of
    model.safetensors, as does the config: that file alone suffices for MODEL.WEIGHTS of the demo.

    Args:
        model: a model, or its checkpoint as in MODEL.WEIGHTS.
        cfg: its config; None for that which a checkpoint carries. What in it is of this machine,
            files and folders, is left out.
        folder: what to write.
        name: of the model, "owner/repository" if it goes to the hub; by default the folder's.
        half: write float16, half the size; loading casts.
        results: files vspw_results.json of evaluations, for the card.
        licence: of the weights, as the hub abbreviates it, such as "apache-2.0".
        overwrite: write over a model that is there.

    Raises:
        FileExistsError: the folder holds a model, and not ``overwrite``.
        FileNotFoundError: there is no such checkpoint or file of results.
        FloatingPointError: a weight is not finite.
        ModuleNotFoundError: huggingface_hub is not installed.
        ValueError: the weights don't fit the config, a value is too large for float16, a model of
            Hugging Face's is a folder of this machine, or a file of results is something else.
    """
    folder = Path(folder)
    _check_folder(folder, overwrite)
    scores = [Results.read(file) for file in results]
    cfg, module = _loaded(model, cfg)
    published = _published(cfg)
    classes = known_classes(cfg)
    names, colors = [name for name, _ in classes], [color for _, color in classes]
    info = ModelInfo.from_config(published, names, colors)
    card = model_card(
        published,
        info,
        name=name or folder.resolve().name,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        scores=scores,
        licence=licence,
        half=half,
        code=[os.path.basename(entry) for key in _NAMES_OF_CODE for entry in cfg.MODEL[key]],
    )
    write = write_half_precision if half else write_safetensors
    write(module.state_dict(), folder / WEIGHTS, info.as_metadata())
    write_text(folder / CONFIG, info.config)
    load_model(folder, ["MODEL.DEVICE", "cpu", *_overrides_of_code(cfg)])  # as others will
    write_text(folder / CARD, card)
    return folder


def _check_folder(folder: Path, overwrite: bool) -> None:
    there = [name for name in (WEIGHTS, CONFIG, CARD) if (folder / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{folder} holds {', '.join(there)} already. Name another folder, or say that they may "
            "be written over: overwrite=True, --overwrite."
        )


def _loaded(model: nn.Module | str | Path, cfg: CfgNode | None) -> tuple[CfgNode, nn.Module]:
    """The complete config, and the model with its weights."""
    if isinstance(model, nn.Module):
        if cfg is None:
            raise ValueError("Give the config with the model: save_pretrained(model, cfg, folder).")
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.WEIGHTS = ""  # what training started from
        complete_config(cfg)
        return cfg, model
    weights = str(model)
    cfg = load_stored_config(["MODEL.WEIGHTS", weights]) if cfg is None else cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = weights
    complete_config(cfg)
    return cfg, build_and_load(cfg)


def _published(cfg: CfgNode) -> CfgNode:
    """The config without what is of this machine."""
    if os.path.isabs(cfg.MODEL.HF.NAME):
        raise ValueError(
            f"MODEL.HF.NAME is {cfg.MODEL.HF.NAME}, a folder of this machine, from whose "
            "config.json the model is built: others don't have it. Name it as on the hub."
        )
    published = cfg.clone()
    model = published.MODEL
    model.WEIGHTS, model.TIMM.CHECKPOINT, model.TEMPORAL.PROTOTYPES.FOLDER = "", "", ""
    model.TIMM.PRETRAINED = model.HF.PRETRAINED = False
    model.DEVICE = "cuda"  # detectron2's default: the CPU where there is none
    for key in _NAMES_OF_CODE:
        if model[key]:
            logger.warning("A published config names no code, and this one does: %s", model[key])
        model[key] = []
    published.DATASETS.VIDEO_FOLDERS = ()
    published.OUTPUT_DIR = "./output"
    return published


def _overrides_of_code(cfg: CfgNode) -> list[str]:
    """What a published config leaves out, as overrides."""
    lists = {key: list(cfg.MODEL[key]) for key in _NAMES_OF_CODE}
    return [word for key, names in lists.items() if names for word in (f"MODEL.{key}", repr(names))]
