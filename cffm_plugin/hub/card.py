"""The model card of a published model: what is known of it, and what is not."""

import math
from collections.abc import Sequence
from typing import Any

import yaml
from detectron2.config import CfgNode

import cffm_plugin

from ..checkpoint import ModelInfo
from ..results import OFFICIAL, Results

_NOT_KNOWN = "not stated"


def model_card(
    cfg: CfgNode,
    info: ModelInfo,
    *,
    name: str,
    parameters: int,
    scores: Sequence[Results] = (),
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
        scores: of evaluations; none are said to be absent.
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
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {name}",
        _what_it_is(cfg, parameters, half),
        _how_to_load(name, code),
        f"## Scores\n\n{_scores_table(scores, half)}",
        f"## Classes\n\n{_classes(cfg, info)}",
        f"## Images\n\nNormalised by {info.normalization or _NOT_KNOWN}.",
        f"## Licence\n\n{_licence(licence)}",
        f"Written by cffm_plugin {cffm_plugin.__version__}. CFFM: Sun et al., Coarse-to-Fine "
        "Feature Mining for Video Semantic Segmentation, CVPR 2022.",
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(cfg: CfgNode, parameters: int, half: bool) -> str:
    model = cfg.MODEL
    backbone = {"build_mit_backbone": model.MIT.NAME, "build_timm_backbone": model.TIMM.NAME}
    image = backbone.get(model.BACKBONE.NAME, model.BACKBONE.NAME)
    if model.IMAGE_ARCHITECTURE == "build_hf_segmenter":
        image, head = model.HF.NAME, "its own head"
    else:
        head = model.SEM_SEG_HEAD.NAME
    temporal = "none: an image segmentor, frame by frame"
    if model.TEMPORAL.ENABLED:
        offsets = ", ".join(map(str, model.TEMPORAL.FRAME_OFFSETS))
        temporal = f"{model.TEMPORAL.NAME}, reference frames {offsets}, relative to the target"
    rows = {
        "image segmentor": f"{image}, {head}",
        "temporal module": temporal,
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


def _scores_table(scores: Sequence[Results], half: bool) -> str:
    if not scores:
        return "Not measured: no results of an evaluation were given."
    names = [metric.name for metric in OFFICIAL]
    metrics = [name for name in names if any(name in each.percent for each in scores)]
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


def _classes(cfg: CfgNode, info: ModelInfo) -> str:
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if not info.class_names:
        return f"{number}, whose names are not known."
    return f"{number}: {', '.join(info.class_names)}."


def _licence(licence: str) -> str:
    if licence:
        return f"Of the weights: {licence}."
    return "None was stated for the weights: ask whoever published them before you use them."
