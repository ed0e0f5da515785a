"""Folders of results that processes fill file by file, and go on with after they were stopped."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from ..checkpoint import no_checkpoint
from ..config import flat_values
from ..files import sha256_of, write_text

_MOST_CHARACTERS = 80
_NOT_OF_PREDICTIONS = ("MODEL.WEIGHTS", "MODEL.DEVICE")


def claim_folder(
    folder: Path, settings: Mapping[str, Any], *, file_name: str, results: str
) -> None:
    """Write what a folder's results are made with, or check that it is the same as before.

    Args:
        folder: it is made if there is none.
        settings: what decides the results, in what JSON can say.
        file_name: of the settings in the folder.
        results: a pattern of the results' paths in the folder, such as "*.pt".

    Raises:
        ValueError: the folder holds results of other settings, and the error says which differ; or
            results but no settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name
    if not file.exists():
        if any(folder.glob(results)):
            raise ValueError(
                f"{folder} holds files {results} but no {file_name}, so it was not made by this "
                "tool. Name another --output."
            )
        write_text(file, json.dumps(settings, indent=1) + "\n")
        return
    now = json.loads(json.dumps(settings))
    before = _read(file)
    differing = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    if differing:
        lines = [
            f"  {k}: {_short(before.get(k))} there, {_short(now.get(k))} now" for k in differing
        ]
        raise ValueError(
            "\n".join([f"{folder} was made with other {', '.join(differing)}:", *lines])
            + f"\nName another --output, or delete the folder. (What it was made with: {file}.)"
        )


def model_settings_from_config(cfg: CfgNode) -> dict[str, Any]:
    """What of a config decides a model's predictions on a file, for ``claim_folder``."""
    weights = cfg.MODEL.WEIGHTS
    settings = {f"MODEL.{key}": value for key, value in flat_values(cfg.MODEL).items()}
    settings |= {f"INPUT.CLIP.{key}": value for key, value in flat_values(cfg.INPUT.CLIP).items()}
    settings["INPUT.FORMAT"] = cfg.INPUT.FORMAT
    for key in _NOT_OF_PREDICTIONS:
        del settings[key]
    return {"weights_sha256": weights_digest(weights) if weights else "", **settings}


def weights_digest(path: str) -> str:
    """The SHA-256 of a file of weights.

    Args:
        path: as in MODEL.WEIGHTS.

    Raises:
        FileNotFoundError: there is none.
    """
    file = PathManager.get_local_path(path)
    if not os.path.isfile(file):
        raise no_checkpoint(path)
    return sha256_of(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{file} is damaged: expected the settings that the folder's files were made with. "
            "Delete the folder, or name another --output."
        )
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
