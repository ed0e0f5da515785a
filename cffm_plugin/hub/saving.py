"""Writing a model as a folder that others can load."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from ..checkpoint import (
    ModelInfo,
    build_and_load,
    load_stored_config,
    write_half_precision,
    write_safetensors,
)
from ..config import with_values
from ..engine import completed
from ..files import write_text
from ..inference import known_classes
from ..model_folders import WEIGHTS
from ..results import Results
from .card import model_card
from .loading import CONFIG, load_model

CARD = "README.md"
_NAMES_OF_CODE = ("IMPORTS", "CONFIG_ADDERS")
_OF_NO_MACHINE: dict[str, Any] = {
    "MODEL.WEIGHTS": "",
    "MODEL.TIMM.CHECKPOINT": "",
    "MODEL.TEMPORAL.PROTOTYPES.FOLDER": "",
    "MODEL.TIMM.PRETRAINED": False,
    "MODEL.HF.PRETRAINED": False,
    "MODEL.DEVICE": "cuda",  # detectron2's default: the CPU where there is none
    "DATASETS.VIDEO_FOLDERS": (),
    "OUTPUT_DIR": "./output",
}

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
    published = _Published.from_config(cfg)
    classes = known_classes(cfg)
    names, colors = [name for name, _ in classes], [color for _, color in classes]
    info = ModelInfo.from_config(published.cfg, names, colors)
    card = model_card(
        published.cfg,
        info,
        name=name or folder.resolve().name,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        scores=scores,
        licence=licence,
        half=half,
        code=published.names_of_code,
    )
    write = write_half_precision if half else write_safetensors
    write(module.state_dict(), folder / WEIGHTS, info.as_metadata())
    write_text(folder / CONFIG, info.config)
    load_model(folder, ["MODEL.DEVICE", "cpu", *published.overrides])  # as others will
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
        return completed(cfg, {"MODEL.WEIGHTS": ""}), model  # not what training started from
    weights = str(model)
    if cfg is None:
        cfg = load_stored_config(["MODEL.WEIGHTS", weights])
    cfg = completed(cfg, {"MODEL.WEIGHTS": weights})
    return cfg, build_and_load(cfg)


@dataclass(frozen=True)
class _Published:
    """A config as it is published.

    Attributes:
        cfg: without what is of this machine, or names code.
        code: the modules and functions that are left out, by MODEL.IMPORTS and its like.
    """

    cfg: CfgNode
    code: dict[str, list[str]]

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "_Published":
        name = cfg.MODEL.HF.NAME
        if os.path.isabs(name):
            raise ValueError(
                f"MODEL.HF.NAME is {name}, a folder of this machine, from whose config.json the "
                "model is built: others don't have it. Name it as on the hub."
            )
        code = {f"MODEL.{key}": list(cfg.MODEL[key]) for key in _NAMES_OF_CODE}
        for names in filter(None, code.values()):
            logger.warning("A published config names no code, and this one does: %s", names)
        return cls(with_values(cfg, _OF_NO_MACHINE | {key: [] for key in code}), code)

    @property
    def names_of_code(self) -> list[str]:
        return [os.path.basename(entry) for names in self.code.values() for entry in names]

    @property
    def overrides(self) -> list[str]:
        """What is left out, to be said where it is loaded."""
        return [word for key, names in self.code.items() if names for word in (key, repr(names))]
