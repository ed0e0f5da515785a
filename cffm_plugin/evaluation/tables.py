"""Scores for people to read: tables and warnings."""

import logging
import math
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ..files import finite_or_none
from ..results import CLASS_IOU, IOU, MIOU
from .metrics import OFFICIAL_LONGEST_LEFT_OUT
from .scoring import DatasetScores

logger = logging.getLogger(__name__)


def class_table(scores: DatasetScores) -> str:
    """One row per class: IoU and accuracy in percent, labelled pixels."""
    columns = zip(
        scores.class_names,
        (100 * scores.all_videos.class_iou).tolist(),
        (100 * scores.all_videos.class_accuracy).tolist(),
        scores.all_videos.class_pixels.tolist(),
    )
    header = ("class", IOU.name, "accuracy", "pixels")
    return tabulate(finite_or_none(list(columns)), header, "pipe", floatfmt=".2f", missingval="-")


def summary_table(scores: DatasetScores) -> str:
    """One row: mIoU, fwIoU, mACC, pACC and every mVC in percent, rounded; and what each mVC is."""
    results = scores.results().curves(all_vc=True)["sem_seg"]
    summary = {k: f"{v:.2f}" for k, v in results.items() if not k.startswith(CLASS_IOU)}
    names: dict[str, list[str]] = {}
    for name, score in scores.vc().items():
        names.setdefault(score.rule, []).append(name)
    legend = [f"{', '.join(of)}: {rule}" for rule, of in names.items()]
    return "\n".join([_table([list(summary.values())], list(summary)), *legend])


def official_table(scores: DatasetScores) -> str:
    """The official numbers of both scopes, as fractions with all digits that a float is sure of.

    CFFM's VC counts the videos longer than 16 frames in either scope, so it is the same in both.
    """
    scopes = scores.official_segmentation()
    rows = [[name, *(scope[name] for scope in scopes.values())] for name in scopes["all_videos"]]
    rows += [[name, *[vc.mean] * len(scopes)] for name, vc in scores.official_vc().items()]
    rows = [[name, *(f"{score:.15g}" for score in row)] for name, *row in rows]
    others = {k: vc for k, vc in scores.vc().items() if k not in scores.official_vc()}
    rows += [[name, f"{score.mean:.15g}", "-"] for name, score in others.items()]
    return _table(
        rows, ["", "all videos", f"videos of more than {OFFICIAL_LONGEST_LEFT_OUT} frames"]
    )


def strict_table(scores: DatasetScores) -> str:
    """The strict scores over all windows and over all videos, in percent, rounded."""
    strict = scores.strict()
    rows = [
        [name, f"{score:.2f}", f"{strict['over_videos'][name]:.2f}", str(strict["windows"][name])]
        for name, score in strict["over_windows"].items()
    ]
    return _table(rows, ["", "mean over windows", "mean over videos", "windows"])


def log_scores(scores: DatasetScores) -> None:
    """Log the official scores as tables, and warn of those that are undefined."""
    logger.info("%s, percent per class:\n%s", scores.dataset, class_table(scores))
    windows = ", ".join(f"{name} over {score.windows}" for name, score in scores.vc().items())
    logger.info(
        "%s, %d video(s), %d of %d frames with ground truth; windows: %s:\n%s",
        scores.dataset,
        len(scores.videos),
        scores.scored_frames,
        scores.frames,
        windows,
        summary_table(scores),
    )
    for warning in undefined_warnings(scores):
        logger.warning("%s", warning)


def undefined_warnings(scores: DatasetScores) -> list[str]:
    """Which of the official scores are undefined, and why."""
    warnings = []
    if math.isnan(scores.all_videos.miou):
        warnings.append(f"{scores.dataset}: {MIOU.name} is undefined: every pixel is void.")
    lengths = [video.num_frames for video in scores.videos.values()]
    short = sum(length <= OFFICIAL_LONGEST_LEFT_OUT for length in lengths)
    longest_run = max((video.longest_scored_run for video in scores.videos.values()), default=0)
    for n, (name, vc) in zip(scores.window_sizes, scores.official_vc().items(), strict=True):
        if vc.windows:
            continue
        if scores.scored_frames < scores.frames and longest_run < n:
            why = (
                f"no {n} consecutive frames are labelled and predicted (at most {longest_run} "
                "are), and only windows count of which all frames are"
            )
        else:
            why = (
                f"no window of {n} frames counts. The official score leaves out videos of "
                f"{OFFICIAL_LONGEST_LEFT_OUT} frames or fewer ({short} of these {len(lengths)}), "
                "each video's last window, and windows where no pixel keeps its true label"
            )
        warnings.append(f"{scores.dataset}: {name} is undefined: {why}.")
    return warnings


def _table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """A table of the cells as they are."""
    return tabulate(rows, header, "pipe", disable_numparse=True)
