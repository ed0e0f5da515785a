"""The model card of a published model: what is known of it, and what is not."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import yaml
from detectron2.config import CfgNode

import cffm_plugin

from ..checkpoint import ModelInfo

_METRICS = ("mIoU", "fwIoU", "mACC", "pACC", "mVC8", "mVC16")
_NOT_KNOWN = "not stated"


@dataclass(frozen=True)
class Scores:
    """What an evaluation measured.

    Attributes:
        dataset: its name.
        frames, scored_frames: all of them, and those with labels.
        percent: metric -> percent, NaN where undefined.
    """

    dataset: str
    frames: int
    scored_frames: int
    percent: Mapping[str, float]


@dataclass(frozen=True)
class _Parts:
    """What a model is made of, in words; and its number of classes."""

    image_segmentor: str
    temporal_module: str
    num_classes: int

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "_Parts":
        model = cfg.MODEL
        backbone = {"build_mit_backbone": model.MIT.NAME, "build_timm_backbone": model.TIMM.NAME}
        image = backbone.get(model.BACKBONE.NAME, model.BACKBONE.NAME)
        head = model.SEM_SEG_HEAD.NAME
        if model.IMAGE_ARCHITECTURE == "build_hf_segmenter":
            image, head = model.HF.NAME, "its own head"
        temporal = "none: an image segmentor, frame by frame"
        if model.TEMPORAL.ENABLED:
            offsets = ", ".join(map(str, model.TEMPORAL.FRAME_OFFSETS))
            temporal = f"{model.TEMPORAL.NAME}, reference frames {offsets}, relative to the target"
        return cls(f"{image}, {head}", temporal, model.SEM_SEG_HEAD.NUM_CLASSES)


def read_scores(file: str | PathLike) -> Scores:
    """The scores of an evaluation.

    Args:
        file: a vspw_results.json, as evaluation and ``cffm score --json`` write it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is something else.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            found = json.load(opened)
        measured = {name: value for name, value in found["sem_seg"].items() if name in _METRICS}
        percent = {name: math.nan if v is None else float(v) for name, v in measured.items()}
        if not percent:
            raise KeyError("mIoU")
        return Scores(
            str(found["dataset"]), int(found["frames"]), int(found["scored_frames"]), percent
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file}: expected the results of an evaluation, vspw_results.json of its folder "
            f"inference/ ({type(error).__name__}: {error})"
        ) from error


def model_card(
    cfg: CfgNode,
    info: ModelInfo,
    *,
    name: str,
    parameters: int,
    scores: Sequence[Scores] = (),
    licence: str = "",
    half: bool = False,
    code: Sequence[str] = (),
) -> str:
    """The text of a README.md for the hub, with its YAML head. No number in it is a guess.

    Args:
        cfg: of the model.
        info: its classes and normalisation.
        name: what the model is called.
        parameters: how many numbers it has learned.
        scores: of evaluations, see ``read_scores``; none are said to be absent.
        licence: of the weights, as the hub abbreviates it, such as "apache-2.0".
        half: whether the weights are in float16.
        code: what the config named of code, which a published one does not.
    """
    head: dict[str, Any] = {
        "library_name": "cffm_plugin",
        "pipeline_tag": "image-segmentation",
        "tags": ["video-semantic-segmentation", "detectron2", "cffm"],
    }
    if licence:
        head["license"] = licence
    model = _Parts.from_config(cfg)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {name}",
        _what_it_is(model, parameters, half),
        _how_to_load(name, code),
        f"## Scores\n\n{_scores_table(scores, half)}",
        f"## Classes\n\n{_classes(model.num_classes, info)}",
        f"## Images\n\nNormalised by {info.normalization or _NOT_KNOWN}.",
        f"## Licence\n\n{_licence(licence)}",
        f"Written by cffm_plugin {cffm_plugin.__version__}. CFFM: Sun et al., Coarse-to-Fine "
        "Feature Mining for Video Semantic Segmentation, CVPR 2022.",
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(parts: _Parts, parameters: int, half: bool) -> str:
    rows = {
        "image segmentor": parts.image_segmentor,
        "temporal module": parts.temporal_module,
        "parameters": f"{parameters / 1e6:.2f} M",
        "weights": f"safetensors, {'float16, cast when loaded' if half else 'float32'}",
    }
    lines = [f"| {what} | {value} |" for what, value in rows.items()]
    return "A video semantic segmentor.\n\n| | |\n|---|---|\n" + "\n".join(lines)


def _how_to_load(name: str, code: Sequence[str]) -> str:
    source = name if "/" in name else "owner/repository"
    text = (
        "## How to load it\n\n```python\nimport cffm_plugin\n"
        f'model = cffm_plugin.from_pretrained("{source}")  # or this folder\n'
        "labels = model.step(frame)  # (H, W, 3), RGB"
        "\n```\n\nOn the command line: `cffm demo --video-input VIDEO --output OUT.mp4 --opts "
        f"MODEL.WEIGHTS hf://{source}`"
    )
    if code:
        text += (
            "\n\nThe model needs code that is not part of it: "
            f'{", ".join(code)}. Give it with `overrides=["MODEL.IMPORTS", ...]`.'
        )
    return text


def _scores_table(scores: Sequence[Scores], half: bool) -> str:
    if not scores:
        return "Not measured: no results of an evaluation were given."
    metrics = [m for m in _METRICS if any(m in each.percent for each in scores)]
    lines = [
        f"| dataset | {' | '.join(metrics)} | frames with labels |",
        "|---" * (len(metrics) + 2) + "|",
    ]
    for each in scores:
        cells = [_percent(each.percent.get(metric, math.nan)) for metric in metrics]
        frames = f"{each.scored_frames} of {each.frames}"
        lines.append(f"| {each.dataset} | {' | '.join(cells)} | {frames} |")
    note = "In percent, from the results of evaluations that were given with the weights."
    if half:
        note += " The weights were rounded to float16 when this folder was written."
    return "\n".join(lines) + f"\n\n{note}"


def _percent(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.2f}"


def _classes(number: int, info: ModelInfo) -> str:
    if not info.class_names:
        return f"{number}, whose names are not known."
    return f"{number}: {', '.join(info.class_names)}."


def _licence(licence: str) -> str:
    if licence:
        return f"Of the weights: {licence}."
    return "None was stated for the weights: ask whoever published them before you use them."
