"""The model card of a published model: what is known of it, and what is not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

import cffm_plugin

from ..checkpoint import ModelInfo
from ..libraries import import_library
from ..results import OFFICIAL, Results

_TEMPLATE = Path(__file__).with_name("card.md.jinja")


@dataclass(frozen=True)
class _Parts:
    """What a model is made of, in words; and its number of classes."""

    image_segmentor: str
    temporal_module: str
    num_classes: int

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "_Parts":
        model = cfg.MODEL
        backbone = {
            "build_mit_backbone": model.MIT.NAME,
            "build_swin_backbone": model.D2_SWIN.NAME,
            "build_timm_backbone": model.TIMM.NAME,
        }
        image = backbone.get(model.BACKBONE.NAME, model.BACKBONE.NAME)
        head = model.SEM_SEG_HEAD.NAME
        if model.IMAGE_ARCHITECTURE == "build_hf_segmenter":
            image, head = model.HF.NAME, "its own head"
        temporal = "none: an image segmentor, frame by frame"
        if model.TEMPORAL.ENABLED:
            offsets = ", ".join(map(str, model.TEMPORAL.FRAME_OFFSETS))
            temporal = f"{model.TEMPORAL.NAME}, clips of frames {offsets} and the target"
        return cls(f"{image}, {head}", temporal, model.SEM_SEG_HEAD.NUM_CLASSES)


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

    Raises:
        ModuleNotFoundError: huggingface_hub or Jinja2 is not installed.
    """
    hub = import_library("huggingface_hub", "Writing a model card")
    import_library("jinja2", "Writing a model card")
    parts = _Parts.from_config(cfg)
    names = [metric.name for metric in OFFICIAL]
    metrics = [name for name in names if any(name in each.percent for each in scores)]
    card = hub.ModelCard.from_template(
        _head(hub, name, scores, metrics, licence),
        template_path=_TEMPLATE,
        name=name,
        facts=_facts(parts, parameters, half),
        source=name if "/" in name else "owner/repository",
        code=code,
        metrics=metrics,
        rows=[_row(each, metrics) for each in scores],
        half=half,
        num_classes=parts.num_classes,
        class_names=info.class_names,
        normalization=info.normalization,
        licence=licence,
        version=cffm_plugin.__version__,
    )
    return f"{card}\n"


def _head(
    hub: Any, name: str, scores: Sequence[Results], metrics: Sequence[str], licence: str
) -> Any:
    """What the hub reads, with the scores that are defined."""
    task = "image-segmentation"
    results = [
        hub.EvalResult(task, each.dataset, each.dataset, metric, round(percent, 2))
        for each in scores
        for metric in metrics
        if not math.isnan(percent := each.percent.get(metric, math.nan))
    ]
    return hub.ModelCardData(
        model_name=name,
        library_name="cffm_plugin",
        pipeline_tag=task,
        tags=["video-semantic-segmentation", "detectron2", "cffm"],
        license=licence or None,
        eval_results=results or None,
    )


def _facts(parts: _Parts, parameters: int, half: bool) -> dict[str, str]:
    """What the model is made of."""
    return {
        "image segmentor": parts.image_segmentor,
        "temporal module": parts.temporal_module,
        "parameters": f"{parameters / 1e6:.2f} M",
        "weights": f"safetensors, {'float16, cast when loaded' if half else 'float32'}",
    }


def _row(scores: Results, metrics: Sequence[str]) -> list[str]:
    percents = [scores.percent.get(metric, math.nan) for metric in metrics]
    shown = ["undefined" if math.isnan(percent) else f"{percent:.2f}" for percent in percents]
    return [scores.dataset, *shown, f"{scores.scored_frames} of {scores.frames}"]
