"""Names and colours of the classes that a config's model tells apart."""

import logging

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from ..checkpoint import read_model_info
from ..data import names_and_colors, numbered_classes
from ..data.datasets.vspw_classes import voc_colors
from ..job_spec import JobSpec
from ..modeling.huggingface import class_names, read_model_config

Color = tuple[int, int, int]

logger = logging.getLogger(__name__)


def known_classes(cfg: CfgNode) -> list[tuple[str, Color]]:
    """Name and colour, (R, G, B), of every class of a config's model; [] where nobody knows them.

    They are those that the checkpoint of MODEL.WEIGHTS names; or else those of a Hugging Face model
    (MODEL.HF) that keeps its classifier; or else those of the first dataset of DATASETS.TEST, or of
    DATASETS.TRAIN. Names of another number than MODEL.SEM_SEG_HEAD.NUM_CLASSES are not of this
    model, and a warning says so where no other are known.

    Raises:
        FileNotFoundError: MODEL.WEIGHTS names no file, or MODEL.HF.NAME no model.
    """
    return _known_classes(JobSpec.from_config(cfg))


def _known_classes(spec: JobSpec) -> list[tuple[str, Color]]:
    num_classes, datasets = spec.num_classes, _datasets_of(spec)
    names, colors = names_and_colors(datasets, num_classes)
    others = {
        f"dataset {dataset}": len(classes)
        for dataset in datasets
        if dataset in MetadataCatalog
        and (classes := MetadataCatalog.get(dataset).get("stuff_classes"))
    }
    info = read_model_info(spec.weights) if spec.weights else None
    if info is not None and info.class_names:
        others = {spec.weights: len(info.class_names)} | others
        if len(info.class_names) == num_classes:
            if len(info.class_colors) == num_classes:
                colors = [(red, green, blue) for red, green, blue in info.class_colors]
            elif list(info.class_names) != names:
                colors = voc_colors(num_classes)
            return list(zip(info.class_names, colors))
    hub_names: tuple[str, ...] = ()
    if spec.hub_model:
        hub_names = class_names(read_model_config(spec.hub_model).id2label, num_classes)
    if hub_names:
        return list(zip(hub_names, colors if list(hub_names) == names else voc_colors(num_classes)))
    if not names and others:
        logger.warning(
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES is %d, but %s. Their names are not of this model's "
            "classes. Name the dataset that the weights were trained on in DATASETS.TEST.",
            num_classes,
            " and ".join(f"{which} has {number} classes" for which, number in others.items()),
        )
    return list(zip(names, colors))


def dataset_classes(cfg: CfgNode) -> list[tuple[str, Color]]:
    """Name and colour, red-green-blue, of every class that a config's model tells apart.

    They are those of ``known_classes``: of the checkpoint, or else of the dataset. Where neither
    has as many as the model, classes are named by their numbers.

    Raises:
        FileNotFoundError: MODEL.WEIGHTS names no file.
    """
    spec = JobSpec.from_config(cfg)
    if classes := _known_classes(spec):
        return classes
    logger.warning(
        "No class names: neither the checkpoint nor the datasets of DATASETS.TEST and "
        "DATASETS.TRAIN (%s) tell those of this model. Classes are called by their numbers.",
        ", ".join(_datasets_of(spec)) or "both are empty",
    )
    return numbered_classes(spec.num_classes)


def _datasets_of(spec: JobSpec) -> tuple[str, ...]:
    """The first that the model is tested on, and trained on."""
    return (*spec.test[:1], *spec.train[:1])
