"""Scoring a folder of prediction PNGs against a registered dataset or one in VSPW's layout."""

import dataclasses
import functools
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cffm_plugin.data import Dataset, LabelMapping, read_mask

from .metrics import SegmentationScores, segmentation_scores
from .numbering import OtherNames
from .prediction_files import (
    UNREADABLE,
    WRONG_SIZE,
    Matching,
    PredictedVideo,
    Problems,
    find_predictions,
    size_mismatch,
    some,
)
from .scoring import DatasetScores, Tally, VideoScorer
from .tables import undefined_warnings

logger = logging.getLogger(__name__)


def score_predictions(
    dataset: Dataset,
    predictions: str | PathLike,
    *,
    window_sizes: Sequence[int] = (8, 16),
    one_based: bool = False,
    partial: bool = False,
    frame_offset: int | None = None,
    in_order: bool = False,
    jobs: int = 1,
    progress: bool = False,
) -> DatasetScores:
    """Score ``<predictions>/<video>/<frame>.png`` as ``VSPWEvaluator`` scores a model.

    Frames are read one at a time and only the last label maps are kept, so the memory does not
    depend on the length of a video. What deserves a warning is logged.

    Args:
        dataset: what they are of. Frames without labels need no prediction and count nowhere.
        predictions: folder of PNGs with one channel, of their masks' size. They hold class
            indices from 0; a value that stands for no class is a miss.
        window_sizes: the n of VC_n.
        one_based: the PNGs hold k + 1 for class k, as VSPW's masks do; 0 and 255 are no class.
        partial: score the frames whose predictions are there and fit. The others count nowhere,
            nor do the windows that hold them.
        frame_offset: None: a prediction is called like its frame. Otherwise names are compared by
            their numbers alone: the prediction of number n is of the frame n + ``frame_offset``.
        in_order: the predictions of a video are its frames', or its labelled frames', in order.
        jobs: processes, a video at a time. The scores do not depend on it. More than one starts
            Python anew, so a script needs ``if __name__ == "__main__":``.
        progress: show a bar if standard error is a terminal.

    Raises:
        FileNotFoundError: a folder, a list, a frame or a mask is missing.
        ValueError: predictions are missing, extra, of the wrong size or unreadable, and ``partial``
            is not set; no frame can be scored; the dataset is damaged; an argument is out of range.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    mapping, matching = dataset.label_mapping, Matching(frame_offset, in_order)
    folder = Path(predictions).expanduser()
    videos, problems, other_names = find_predictions(folder, dataset.videos, matching)
    usable = sum(path is not None for video in videos for path in video.predictions)
    _check(problems, folder, dataset.name, videos, usable, partial, other_names)

    score = functools.partial(
        _score_video, mapping, tuple(window_sizes), one_based, dataset.max_megapixels
    )
    total = _Scored(Tally.empty(mapping.num_classes))
    total.add_all(score, videos, jobs, progress)
    problems.update(total.problems)
    _check(problems, folder, dataset.name, videos, total.tally.scored_frames, partial)
    scores = total.scores(dataset, window_sizes)
    for warning in (
        *_left_out_warnings(folder, problems, videos, scores),
        *_value_warnings(folder, total, one_based),
        *undefined_warnings(scores),
    ):
        logger.warning("%s", warning)
    return scores


@dataclass
class _Scored:
    """What scoring videos gives, and what deserves a warning."""

    tally: Tally
    segmentation_by_video: dict[str, SegmentationScores] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    foreign: dict[str, list[int]] = field(default_factory=dict)  # mask file -> its foreign values
    outside: set[int] = field(default_factory=set)  # predicted values that stand for no class
    frames_outside: int = 0

    def add(self, other: "_Scored") -> None:
        self.tally.add(other.tally)
        self.segmentation_by_video.update(other.segmentation_by_video)
        self.problems.update(other.problems)
        self.foreign.update(other.foreign)
        self.outside |= other.outside
        self.frames_outside += other.frames_outside

    def add_all(
        self,
        score: Callable[[PredictedVideo], "_Scored"],
        videos: Sequence[PredictedVideo],
        jobs: int,
        progress: bool,
    ) -> None:
        """Add what ``score`` gives of every video, in several processes."""
        with (
            map_in_processes(min(jobs, len(videos))) as map_videos,
            tqdm(total=len(videos), unit="video", disable=None if progress else True) as bar,
        ):
            for scored in map_videos(score, videos):
                self.add(scored)
                bar.update()

    def scores(self, dataset: Dataset, window_sizes: Sequence[int]) -> DatasetScores:
        """Of all videos, and each video's own."""
        scores = DatasetScores.of(
            self.tally,
            dataset=dataset.name,
            class_names=dataset.class_names,
            window_sizes=window_sizes,
        )
        return dataclasses.replace(scores, segmentation_by_video=self.segmentation_by_video)


def _score_video(
    mapping: LabelMapping,
    window_sizes: Sequence[int],
    one_based: bool,
    max_megapixels: float,
    video: PredictedVideo,
) -> _Scored:
    """Score one video. A prediction that turns out to be damaged is left out and noted."""
    num_classes = mapping.num_classes
    from_one = LabelMapping.shifted_by_one(num_classes) if one_based else None
    scored = _Scored(Tally.empty(num_classes))
    scorer = VideoScorer(scored.tally, video.video_id, len(video.masks), window_sizes)
    for mask_file, prediction_file in zip(video.masks, video.predictions):
        if mask_file is None or prediction_file is None:
            scorer.update(None, None)
            continue
        raw_truth = mapping.read(mask_file, max_megapixels)
        name = f"{video.video_id}/{prediction_file.name}"
        stored = _read_prediction(prediction_file, name, raw_truth, scored.problems, max_megapixels)
        if stored is None:
            scorer.update(None, None)
            continue
        if not scored.foreign and (foreign := mapping.foreign_values(raw_truth)):
            scored.foreign[mask_file] = foreign
        prediction = stored if from_one is None else from_one(stored)
        if prediction.max() >= num_classes:
            scored.outside.update(np.unique(stored[prediction >= num_classes]).tolist())
            scored.frames_outside += 1
        try:
            scorer.update(mapping(raw_truth), prediction)
        except ValueError as error:
            raise ValueError(f"{mask_file}: {error}") from error
    scored.segmentation_by_video[video.video_id] = segmentation_scores(scored.tally.confusion)
    return scored


def _read_prediction(
    path: Path, name: str, mask: np.ndarray, problems: Problems, max_megapixels: float
) -> np.ndarray | None:
    """(H, W) uint8, the values as stored; None, and a note, if they can't be had."""
    try:
        stored = read_mask(path, max_megapixels)
    except (ValueError, OSError):
        problems.add(UNREADABLE, f"{name} (damaged)")
        return None
    if stored.shape != mask.shape:  # its header said otherwise
        problems.add(WRONG_SIZE, size_mismatch(name, stored.shape, mask.shape))
        return None
    return stored


def _check(
    problems: Problems,
    folder: Path,
    dataset: str,
    videos: Sequence[PredictedVideo],
    usable: int,
    partial: bool,
    other_names: OtherNames | None = None,
) -> None:
    """Raise ValueError if the frames that can be scored are not all, or with ``partial`` none; or
    where predictions would be scored against other frames than theirs."""
    frames = sum(mask is not None for video in videos for mask in video.masks)
    if not frames:
        raise ValueError(f"{dataset}: no frame of its videos has a mask to score against.")
    scores_others = other_names is not None and other_names.overlap
    if not problems or (partial and usable and not scores_others):
        return
    if other_names is not None:
        advice = other_names.advice
    elif usable:
        advice = "Mend the folder, or score the frames that fit with --partial (partial=True)."
    else:
        advice = f"No frame can be scored. Expected {folder}/<video>/<frame>.png."
        if (folder / "result_submission").is_dir():
            advice += f" Did you mean {folder / 'result_submission'}?"
    raise ValueError(
        f"{folder} does not fit {dataset} ({frames} frames with masks in {len(videos)} videos):\n"
        f"{problems}\n{advice}"
    )


def _left_out_warnings(
    folder: Path, problems: Problems, videos: Sequence[PredictedVideo], scores: DatasetScores
) -> list[str]:
    warnings = []
    without_mask = sum(mask is None for video in videos for mask in video.masks)
    if without_mask:
        warnings.append(f"{without_mask} of {scores.frames} frames have no mask; not scored.")
    if problems:
        left_out = scores.frames - scores.scored_frames - without_mask
        warnings.append(
            f"{folder}: {left_out} of {scores.frames} frames are left out of all scores, and so "
            f"are the windows that hold them:\n{problems}"
        )
    return warnings


def _value_warnings(folder: Path, total: _Scored, one_based: bool) -> list[str]:
    """Warnings of values that stand for no class, in masks and in predictions."""
    warnings = []
    if total.foreign:
        values = sorted({value for values in total.foreign.values() for value in values})
        warnings.append(
            f"The masks of {len(total.foreign)} video(s) hold values that stand for no class: "
            f"{', '.join(map(str, values))}. They are treated as void. First in each: "
            f"{some(list(total.foreign))}"
        )
    if total.outside:
        num_classes = len(total.tally.confusion)
        expected = f"1..{num_classes}" if one_based else f"0..{num_classes - 1}"
        misses = int(total.tally.confusion[:, num_classes].sum())
        warning = (
            f"{folder}: {total.frames_outside} of {total.tally.scored_frames} predictions hold "
            f"values outside {expected}: {some([str(v) for v in sorted(total.outside)])}. Those "
            f"pixels are misses, {misses} of {total.tally.confusion.sum()} labelled ones."
        )
        if not one_based and num_classes in total.outside:
            warning += " If the PNGs hold k + 1 for class k, score them with --one-based."
        warnings.append(warning)
    return warnings


@contextmanager
def map_in_processes(jobs: int) -> Iterator[Callable]:
    """``map`` over processes; its results come in order. An exception drops what has not begun."""
    if jobs == 1:
        yield map
        return
    # Not fork: OpenCV's and torch's threads do not survive it. The fork server imports this module
    # once for all workers, and runs nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(jobs, context) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or the rest would be scored first
            raise
