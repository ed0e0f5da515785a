"""Before a training: whether its masks look like what their label mapping says they mean."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..libraries import catalogs
from .image_opening import DEFAULT_MAX_MEGAPIXELS
from .images import LabelMapping
from .label_findings import class_shares, label_findings
from .mask_origins import files_by_storage, objects_finding, storage_finding

logger = logging.getLogger(__name__)

MOST_MASKS = 60  # of a sample: read in less than a second or two
_READING_THREADS = 4
_GOLDEN_RATIO = 0.618


def check_training_labels(
    records: Mapping[str, Sequence[dict[str, Any]]],
    mapping: LabelMapping,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    class_names: Sequence[str] | None = None,
) -> None:
    """Look at a sample of the masks that training will read; log what is odd.

    The sample is the same in every process and every run, and so is what this says. Masks that
    can't be read are left to those who need them.

    Args:
        records: dataset -> its training records.
        mapping: what the values in all masks mean.
        max_megapixels: see ``read_image``.
        class_names: K names; by default those of the registered datasets.

    Raises:
        ValueError: training would learn wrong classes, or nothing. It names the dataset and shows
            what to do.
    """
    total = np.zeros(256, dtype=np.int64)
    names: Sequence[str] = [f"class {k}" for k in range(mapping.num_classes)]
    for dataset, videos in records.items():
        masks = sample_masks(videos, max(1, MOST_MASKS // len(records)))
        histograms = histograms_of_masks(masks, mapping, max_megapixels)
        histogram = sum(histograms.values(), np.zeros(256, np.int64))
        total += histogram
        classes = class_names or catalogs.MetadataCatalog.get(dataset).get("stuff_classes")
        if classes is not None and len(classes) == mapping.num_classes:
            names = classes
        findings = [
            *objects_finding(_values_of_videos(videos, histograms), mapping),
            *storage_finding(files_by_storage(histograms)),
            *label_findings(histogram, mapping, names),  # may hold an error
        ]
        for finding in findings:
            message = f"Dataset {dataset}, {len(masks)} of its masks: {finding.message}"
            if finding.level == "error":
                raise ValueError(message)
            if finding.kind != "classes_absent":  # what one dataset lacks another may have
                logger.warning(message)
    for finding in label_findings(total, mapping, names):
        if finding.kind == "classes_absent":
            level = logging.INFO if finding.level == "info" else logging.WARNING
            logger.log(level, "Sample of masks of %s: %s", ", ".join(records), finding.message)
    if total.any():
        shares = class_shares(total, mapping, names).items()
        shown = ", ".join(f"{name} {share:.2%}" for name, share in shares)
        logger.info("Classes in a sample of masks of %s: %s", ", ".join(records), shown)


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


def histograms_of_masks(
    files: Iterable[str], mapping: LabelMapping, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> dict[str, np.ndarray]:
    """Mask file -> (256,) int64, pixels of each raw value; without those that can't be read."""
    unique = list(dict.fromkeys(files))
    with ThreadPoolExecutor(_READING_THREADS) as pool:
        read = functools.partial(_histogram_of_file, mapping, max_megapixels)
        histograms = zip(unique, pool.map(read, unique))
        return {file: histogram for file, histogram in histograms if histogram is not None}


def histogram_of(raw: np.ndarray) -> np.ndarray:
    """(256,) int64: pixels of each value in a raw mask, uint8 of any shape."""
    return np.bincount(raw.reshape(-1), minlength=256)


def _values_of_videos(
    videos: Sequence[dict[str, Any]], histograms: Mapping[str, np.ndarray]
) -> list[set[int]]:
    """The values that occur in the masks of every video, as far as these were read."""
    read = [[f["sem_seg_file_name"] for f in video.get("frames", ())] for video in videos]
    return [
        {
            v
            for mask in masks
            if mask in histograms
            for v in np.flatnonzero(histograms[mask]).tolist()
        }
        for masks in read
    ]


def _histogram_of_file(
    mapping: LabelMapping, max_megapixels: float, file: str
) -> np.ndarray | None:
    try:
        return histogram_of(mapping.read(file, max_megapixels))
    except (OSError, ValueError):
        return None


def _evenly(length: int, number: int) -> list[int]:
    """``number`` indices, spread over 0..length-1."""
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]
