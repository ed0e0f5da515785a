"""Whether the values in a dataset's masks look like what its label mapping says they mean."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from detectron2.data import MetadataCatalog

from ..libraries import import_library
from .image_opening import DEFAULT_MAX_MEGAPIXELS
from .images import IGNORE_LABEL, LabelMapping, read_mask

logger = logging.getLogger(__name__)

MOST_MASKS = 60  # of a sample: read in less than a second or two
_READING_THREADS = 4
_GOLDEN_RATIO = 0.618
_NAMED = 10  # values or classes in a message

Kind = Literal["labels_shifted", "labels_all_void", "labels_foreign", "classes_absent"]
Level = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class LabelFinding:
    """Something odd about the values in masks.

    Attributes:
        kind: what it is.
        level: an error spoils training or makes it impossible; a warning may; an info is good to
            know.
        message: the values concerned and what to do.
    """

    kind: Kind
    level: Level
    message: str


def label_findings(
    histogram: np.ndarray, mapping: LabelMapping, class_names: Sequence[str]
) -> list[LabelFinding]:
    """What is odd about the values in masks.

    Args:
        histogram: (256,) pixels of each raw value, in all masks or in a sample of them.
        mapping: what the values are said to mean; K classes.
        class_names: K names.

    Returns:
        the findings, worst first; none where there are no pixels.
    """
    if not histogram.any():
        return []
    from_one = _may_count_from_one(histogram, mapping)
    if from_one and not histogram[0]:
        return [LabelFinding("labels_shifted", "error", _shift_message(histogram, class_names))]
    findings = []
    labels = mapping(np.arange(256, dtype=np.uint8))
    pixels = np.bincount(labels, histogram, IGNORE_LABEL + 1)[: mapping.num_classes]
    if not pixels.any():
        findings.append(LabelFinding("labels_all_void", "error", _void_message(histogram, mapping)))
    if foreign := _foreign_values(histogram, mapping):
        shares = _shares(histogram, foreign)
        message = (
            f"values that stand for no class count as void: {shares} of the pixels. Name them in "
            "void, or in label_mapping if they are of a class."
        )
        if from_one:
            yaml = _yaml(class_names)
            message += f" If 0 is void and classes count from 1: {yaml} and void: [0, 255]."
        kind: Kind = "labels_shifted" if from_one else "labels_foreign"
        findings.append(LabelFinding(kind, "warning", message))
    absent = np.flatnonzero(pixels == 0).tolist()
    if 0 < len(absent) < mapping.num_classes:
        message = (
            f"{len(absent)} of {mapping.num_classes} classes never occur in these masks: "
            f"{_some([class_names[k] for k in absent])}"
        )
        level: Level = "warning" if 2 * len(absent) > mapping.num_classes else "info"
        findings.append(LabelFinding("classes_absent", level, message))
    return findings


def check_training_labels(
    records: Mapping[str, Sequence[dict[str, Any]]],
    mapping: LabelMapping,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> None:
    """Look at a sample of the masks that training will read; log what is odd.

    The sample is the same in every process and every run, and so is what this says. Masks that
    can't be read are left to those who need them.

    Args:
        records: dataset -> its training records.
        mapping: what the values in all masks mean.
        max_megapixels: see ``read_image``.

    Raises:
        ValueError: training would learn wrong classes, or nothing. It names the dataset and shows
            what to do.
    """
    total = np.zeros(256, dtype=np.int64)
    names = [f"class {k}" for k in range(mapping.num_classes)]
    for dataset, videos in records.items():
        masks = sample_masks(videos, max(1, MOST_MASKS // len(records)))
        histogram = histogram_of_masks(masks, max_megapixels)
        total += histogram
        classes = MetadataCatalog.get(dataset).get("stuff_classes")
        if classes is not None and len(classes) == mapping.num_classes:
            names = classes
        for finding in label_findings(histogram, mapping, names):
            message = f"Dataset {dataset}, {len(masks)} of its masks: {finding.message}"
            if finding.level == "error":
                raise ValueError(message)
            if finding.kind != "classes_absent":  # what one dataset lacks another may have
                logger.warning(message)
    for finding in label_findings(total, mapping, names):
        if finding.kind == "classes_absent":
            level = logging.INFO if finding.level == "info" else logging.WARNING
            logger.log(level, "Sample of masks of %s: %s", ", ".join(records), finding.message)


def sample_masks(videos: Sequence[dict[str, Any]], most: int) -> list[str]:
    """At most ``most`` mask files, spread evenly over training videos and their frames."""
    every = [[frame["sem_seg_file_name"] for frame in v.get("frames", ())] for v in videos]
    masks = [labelled for v in every if (labelled := [mask for mask in v if mask is not None])]
    if not masks:
        return []
    if len(masks) >= most:  # one of each of some videos, now near its start, now near its end
        chosen = [masks[i] for i in _evenly(len(masks), most)]
        return [v[int(len(v) * (i * _GOLDEN_RATIO % 1))] for i, v in enumerate(chosen)]
    each = most // len(masks)
    return [v[i] for v in masks for i in _evenly(len(v), min(each, len(v)))]


def histogram_of_masks(
    files: Iterable[str], max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> np.ndarray:
    """(256,) int64: pixels of each raw value in mask files. Those that can't be read are left out.

    A file of several frames counts once.
    """
    with ThreadPoolExecutor(_READING_THREADS) as pool:
        read = functools.partial(_histogram_of_file, max_megapixels)
        return sum(pool.map(read, dict.fromkeys(files)), np.zeros(256, np.int64))


def histogram_of(raw: np.ndarray) -> np.ndarray:
    """(256,) int64: pixels of each value in a raw mask, uint8 of any shape."""
    return np.bincount(raw.reshape(-1), minlength=256)


def _histogram_of_file(max_megapixels: float, file: str) -> np.ndarray:
    try:
        return histogram_of(read_mask(file, max_megapixels))
    except (OSError, ValueError):
        return np.zeros(256, dtype=np.int64)


def _evenly(length: int, number: int) -> list[int]:
    """``number`` indices, spread over 0..length-1."""
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]


def _may_count_from_one(histogram: np.ndarray, mapping: LabelMapping) -> bool:
    """Whether value k is said to be class k, from 0, but the masks may hold 1..K.

    The tell is K, which is then of no class. Other foreign values in greater number speak of
    something else: of more classes than were named.
    """
    largest = mapping.num_classes
    foreign = _foreign_values(histogram, mapping)
    if largest not in foreign or mapping.class_of != {k: k for k in range(largest)}:
        return False
    return 2 * histogram[largest] > histogram[foreign].sum()


def _foreign_values(histogram: np.ndarray, mapping: LabelMapping) -> list[int]:
    return mapping.foreign_values(np.flatnonzero(histogram).astype(np.uint8))


def _shift_message(histogram: np.ndarray, class_names: Sequence[str]) -> str:
    first, last, k = class_names[0], class_names[-1], len(class_names)
    next_to = f"{first} would be trained as {class_names[1]}, and so on, and " if k > 1 else ""
    return (
        f"the masks hold {_shares(histogram)}, and no 0. But value k is said to be class k, from 0 "
        f"({first}) to {k - 1} ({last}), so that {k} is none. If the masks count classes from 1, "
        f"{next_to}{last} would be left out. Then say so; in the YAML file of "
        f"DATASETS.VIDEO_FOLDERS:\n  {_yaml(class_names)}\n  void: [0, 255]\n"
        "or in Python, to register_video_folder:\n"
        f"  label_mapping={dict(enumerate(class_names, 1))!r}, void=(0, 255)\n"
        f"which is LabelMapping.shifted_by_one({k}). If {k} does mean no class, name it: "
        f"void: [{k}, 255]."
    )


def _void_message(histogram: np.ndarray, mapping: LabelMapping) -> str:
    return (
        f"every pixel is void: the masks hold {_shares(histogram)}, and none of these values is "
        f"of a class. Those of classes are {_some(sorted(mapping.class_of))}. Correct "
        "label_mapping and void, or look at the masks."
    )


def _yaml(class_names: Sequence[str]) -> str:
    yaml = import_library("yaml", "DATASETS.VIDEO_FOLDERS")
    mapping = dict(enumerate(map(str, class_names), 1))
    text = yaml.safe_dump(mapping, default_flow_style=True, width=1 << 20, allow_unicode=True)
    return f"label_mapping: {text.strip()}"


def _shares(histogram: np.ndarray, values: Sequence[int] | None = None) -> str:
    """Values, by default all that occur, and which share of all pixels each is."""
    if values is None:
        values = np.flatnonzero(histogram).tolist()
    return _some([f"{value} ({histogram[value] / histogram.sum():.2%})" for value in values])


def _some(items: Sequence[Any]) -> str:
    more = len(items) - _NAMED
    return ", ".join(map(str, items[:_NAMED])) + (f" and {more} more" if more > 0 else "")
