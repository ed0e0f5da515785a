"""From scores of models to what a report's tables hold: values and differences, in percent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluation import DatasetScores, VideoWindows
from ..results import FLICKER, IOU, METRICS, MIOU, Metric, temporal_accuracy, video_vc

OFFICIAL_SIZES = (8, 16)
WINDOW_SIZES = (2, *OFFICIAL_SIZES)  # 2: flicker is what strict VC of frame pairs lacks to 1
WINDOW = 8  # of the worst windows
WORST_WINDOWS = 40

Values = list[float]  # one for each model, NaN where undefined


@dataclass(frozen=True)
class Row:
    """A metric, a class or a video with the values of all models.

    Attributes:
        title: what the values are of.
        values: metric -> a value for each model.
    """

    title: str
    values: dict[str, Values]

    def differences(self, metric: str) -> Values:
        """Of all models to the first one, which is the baseline: its own is 0."""
        values = self.values[metric]
        return [value - values[0] for value in values]


@dataclass(frozen=True)
class Window:
    """A stretch of frames of a video.

    Attributes:
        video: its index.
        first: its first frame, from 0.
        consistency: strict VC in it for each model, in percent.
        accuracy: temporal accuracy in it for each model, in percent.
    """

    video: int
    first: int
    consistency: Values
    accuracy: Values


def summary_rows(models: Sequence[DatasetScores]) -> list[tuple[Metric, Row]]:
    """One row per metric of ``METRICS``, over all videos."""
    found = [scores.results(OFFICIAL_SIZES).percent for scores in models]
    return [(m, Row(m.name, {m.name: [of[m.name] for of in found]})) for m in METRICS]


def class_rows(models: Sequence[DatasetScores]) -> list[tuple[int, float, Row]]:
    """Class, its share of the labelled pixels in percent, and its IoU, of classes in the truth.

    Those where the models differ most come first: the best gain of any model over the baseline at
    the top, losses at the bottom. Of a single model, the lowest IoU first.
    """
    pixels = models[0].all_videos.class_pixels
    rows = []
    for k, name in enumerate(models[0].class_names):
        if pixels[k]:
            ious = [100 * float(scores.all_videos.class_iou[k]) for scores in models]
            rows.append((k, 100 * float(pixels[k] / pixels.sum()), Row(name, {IOU.name: ious})))
    if len(models) == 1:
        return sorted(rows, key=lambda row: row[2].values[IOU.name][0])
    return sorted(rows, key=lambda row: -max(row[2].differences(IOU.name)[1:], key=abs))


def video_rows(models: Sequence[DatasetScores], video_ids: Sequence[str]) -> list[Row]:
    """One row per video, in this order, with the metrics of ``PER_VIDEO``."""
    found = [scores.results(OFFICIAL_SIZES) for scores in models]
    rows = []
    for video in video_ids:
        strict = [of.strict["per_video"][video] for of in found]
        values: dict[str, Values] = {
            MIOU.name: [100 * scores.segmentation_by_video[video].miou for scores in models],
            FLICKER.name: [100 - of[FLICKER.place[-1]] for of in strict],
        }
        for n in OFFICIAL_SIZES:
            vc, accuracy = video_vc(n).name, temporal_accuracy(n)
            values[vc] = [of.per_video[video][vc] for of in found]
            values[accuracy.name] = [of[accuracy.place[-1]] for of in strict]
        rows.append(Row(video, values))
    return rows


def flicker_of(video: VideoWindows) -> list[float]:
    """Flicker of each pair of frames, in percent, by its first frame; NaN where undefined.

    Of the pixels that are labelled as the same class, not void, in both frames, the share whose
    prediction changed. L - 1 values.
    """
    return [100 * (1 - score) for score in video.strict_scores[2]]


def worst_windows(
    models: Sequence[DatasetScores], video_ids: Sequence[str], size: int = WINDOW
) -> list[Window]:
    """The windows in which the steadiness of the least steady model is lowest, worst first.

    Windows of a video that are listed don't overlap. At most ``WORST_WINDOWS``.
    """
    candidates = []
    for index, video in enumerate(video_ids):
        video_scores = [scores.videos[video] for scores in models]
        for first, values in enumerate(zip(*(of.strict_scores[size] for of in video_scores))):
            defined = [value for value in values if not math.isnan(value)]
            if defined:
                candidates.append((min(defined), index, first))
    listed: list[Window] = []
    taken: set[tuple[int, int]] = set()
    for _, index, first in sorted(candidates):
        frames = {(index, frame) for frame in range(first, first + size)}
        if frames & taken:
            continue
        taken |= frames
        video_scores = [scores.videos[video_ids[index]] for scores in models]
        consistency = [100 * of.strict_scores[size][first] for of in video_scores]
        accuracy = [100 * of.temporal_accuracies[size][first] for of in video_scores]
        listed.append(Window(index, first, consistency, accuracy))
        if len(listed) == WORST_WINDOWS:
            break
    return listed


def worst_and_best(rows: Sequence[Row], metric: Metric, number: int) -> list[int]:
    """Indices of the ``number`` worst and as many best videos, worst and best by turns.

    Of one model by its value. Of several by the difference to the baseline of the model for which
    it is worst, or best. Videos without a value come last.
    """

    def goodness(row: Row, pick: int) -> float:
        values = row.differences(metric.name)[1:] or row.values[metric.name]
        signed = sorted(metric.better * v for v in values if not math.isnan(v))
        return signed[pick] if signed else math.nan

    worst = [(goodness(row, 0), i) for i, row in enumerate(rows)]
    best = [(-goodness(row, -1), i) for i, row in enumerate(rows)]
    orders = [sorted(of, key=lambda pair: (math.isnan(pair[0]), pair)) for of in (worst, best)]
    chosen: list[int] = []
    for pair in zip(*orders):
        for _, index in pair:
            if index not in chosen and len(chosen) < 2 * number:
                chosen.append(index)
    return chosen
