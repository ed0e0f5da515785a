"""Scores of video semantic segmentation: confusion-matrix metrics and video consistency (VC).

Pure NumPy. K is the number of classes, H and W the frame's size. Every score is a fraction in
0..1, and NaN where it is undefined.

Video consistency: Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild",
CVPR 2021. A window of n consecutive frames scores, of the pixels whose ground truth is the same in
all n frames, the fraction whose prediction is the same in all n frames. Void that stays void counts
as the same, and a constant wrong prediction scores 1. Two scores beside it mend that: strict VC
leaves void out, and temporal accuracy asks that the prediction be right as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

# CFFM's script leaves videos of this many frames or fewer out of VC, for every window size, and out
# of its own mIoU.
OFFICIAL_LONGEST_LEFT_OUT = 16


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int, *, ignore_label: int = 255
) -> np.ndarray:
    """Count the labelled pixels of each true class by predicted class.

    Args:
        truth: (H, W) integers, classes 0..K-1 or ``ignore_label``.
        prediction: (H, W) integers. A value outside 0..K-1 is a miss of the pixel's true class.
        num_classes: K.
        ignore_label: pixels with this truth count nowhere.

    Returns:
        (K, K + 1) int64: rows are true classes, columns predicted ones; the last column holds the
        predictions outside 0..K-1.

    Raises:
        ValueError: the shapes differ, or ``truth`` holds another value.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape}, but prediction is {prediction.shape}")
    labelled = truth != ignore_label
    true_class = truth[labelled].astype(np.int64)
    if true_class.size and not 0 <= true_class.min() <= true_class.max() < num_classes:
        raise ValueError(
            f"truth holds values {true_class.min()}..{true_class.max()}, expected "
            f"0..{num_classes - 1} or {ignore_label}. Map the mask's raw values to classes first."
        )
    predicted = prediction[labelled].astype(np.int64)
    predicted[(predicted < 0) | (predicted >= num_classes)] = num_classes
    columns = num_classes + 1
    counts = np.bincount(true_class * columns + predicted, minlength=num_classes * columns)
    return counts.reshape(num_classes, columns).astype(np.int64, copy=False)


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """What a confusion matrix says. Means are over the classes present in the ground truth.

    Attributes:
        miou: mean intersection over union.
        fwiou: intersection over union, weighted with the classes' share of the labelled pixels.
        macc: mean class accuracy.
        pacc: pixel accuracy.
        class_iou: (K,), NaN for classes absent from the ground truth.
        class_accuracy: (K,), NaN for classes absent from the ground truth.
        class_pixels: (K,) int64, labelled pixels of each class.
    """

    miou: float
    fwiou: float
    macc: float
    pacc: float
    class_iou: np.ndarray
    class_accuracy: np.ndarray
    class_pixels: np.ndarray


def segmentation_scores(confusion: np.ndarray) -> SegmentationScores:
    """Scores of a confusion matrix, (K, K + 1), as ``confusion_matrix`` gives it.

    All scores are NaN if no pixel is labelled.
    """
    num_classes = confusion.shape[0]
    pixels = confusion.sum(axis=1)
    hits = confusion.diagonal()
    union = pixels + confusion.sum(axis=0)[:num_classes] - hits
    present = pixels > 0
    class_iou = np.full(num_classes, np.nan)
    class_accuracy = np.full(num_classes, np.nan)
    class_iou[present] = hits[present] / union[present]
    class_accuracy[present] = hits[present] / pixels[present]
    if not present.any():
        nan = math.nan
        return SegmentationScores(nan, nan, nan, nan, class_iou, class_accuracy, pixels)
    return SegmentationScores(
        miou=float(class_iou[present].mean()),
        fwiou=float((pixels[present] / pixels.sum() * class_iou[present]).sum()),
        macc=float(class_accuracy[present].mean()),
        pacc=float(hits.sum() / pixels.sum()),
        class_iou=class_iou,
        class_accuracy=class_accuracy,
        class_pixels=pixels,
    )


@dataclass(frozen=True)
class VideoWindows:
    """The scores of every window of one video.

    Each dict maps a window size n to L - n + 1 scores (none if L < n), one for each window, by its
    first frame. NaN stands for windows with no pixel to count and windows with a skipped frame.

    Attributes:
        num_frames: L, the video's length.
        scores: VC as the official script counts it.
        strict_scores: VC of the pixels whose ground truth is one class in all n frames, never void.
        temporal_accuracies: of the same pixels, the fraction that is predicted right in all n
            frames; at most the strict score.
        longest_scored_run: the most consecutive frames that were not skipped. A window size above
            it has no window to score.
    """

    num_frames: int
    scores: dict[int, list[float]]
    strict_scores: dict[int, list[float]] = field(default_factory=dict)
    temporal_accuracies: dict[int, list[float]] = field(default_factory=dict)
    longest_scored_run: int = 0


class VideoConsistency:
    """Scores all windows of one video as its frames come, and keeps no frame but the last.

    For each pixel it counts for how many frames the label has been the same, in the ground truth
    and in the prediction: a window of n frames is constant there if and only if that run is at
    least n when the window ends.
    """

    def __init__(self, window_sizes: Sequence[int] = (8, 16), *, ignore_label: int = 255) -> None:
        """
        Args:
            window_sizes: the n of VC_n, each at least 2.
            ignore_label: void in the ground truth.

        Raises:
            ValueError: there is no window size, or one below 2.
        """
        if not window_sizes or min(window_sizes) < 2:
            raise ValueError(f"window_sizes must be integers of at least 2, got {window_sizes}")
        self._scores: dict[int, list[float]] = {n: [] for n in window_sizes}
        self._strict_scores: dict[int, list[float]] = {n: [] for n in window_sizes}
        self._temporal_accuracies: dict[int, list[float]] = {n: [] for n in window_sizes}
        self._ignore_label = ignore_label
        self._longest = max(window_sizes)
        self._num_frames = 0
        self._scored_run = self._longest_scored_run = 0
        self._truth: _Runs | None = None
        self._prediction: _Runs | None = None

    @property
    def num_frames(self) -> int:
        """Frames seen so far."""
        return self._num_frames

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Take the video's next frame.

        Args:
            truth: (H, W) integers; void must be one value.
            prediction: (H, W) integers.

        Raises:
            ValueError: the shapes differ from each other or from the frame before.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, but prediction is {prediction.shape}")
        if self._truth is None or self._prediction is None:
            self._truth = _Runs.start(truth, self._longest)
            self._prediction = _Runs.start(prediction, self._longest)
        else:
            self._truth.extend(truth)
            self._prediction.extend(prediction)
        self._num_frames += 1
        self._scored_run += 1
        self._longest_scored_run = max(self._longest_scored_run, self._scored_run)
        labelled = truth != self._ignore_label
        right = truth == prediction  # where both are constant, right now is right in all n frames
        for n in self._scores:
            if self._num_frames < n:
                continue
            constant = self._truth.lengths >= n
            kept = constant & (self._prediction.lengths >= n)
            self._scores[n].append(_fraction(kept, constant))
            constant &= labelled
            kept &= labelled
            self._strict_scores[n].append(_fraction(kept, constant))
            self._temporal_accuracies[n].append(_fraction(kept & right, constant))

    def skip_frame(self) -> None:
        """Pass over a frame that is not scored: the windows that hold it score NaN."""
        self._truth = self._prediction = None
        self._num_frames += 1
        self._scored_run = 0
        for kind in (self._scores, self._strict_scores, self._temporal_accuracies):
            for n, scores in kind.items():
                if self._num_frames >= n:
                    scores.append(math.nan)

    def windows(self) -> VideoWindows:
        """The windows seen so far."""
        scores, strict_scores, accuracies = (
            {n: list(windows_of_video) for n, windows_of_video in kind.items()}
            for kind in (self._scores, self._strict_scores, self._temporal_accuracies)
        )
        return VideoWindows(
            self._num_frames, scores, strict_scores, accuracies, self._longest_scored_run
        )


def _fraction(part: np.ndarray, whole: np.ndarray) -> float:
    """How much of one set of pixels (H, W) another one, part of it, is; NaN of the empty set."""
    pixels = int(np.count_nonzero(whole))
    return int(np.count_nonzero(part)) / pixels if pixels else math.nan


@dataclass
class _Runs:
    """For each pixel, for how many frames its label has been the same; counted up to a cap."""

    labels: np.ndarray
    lengths: np.ndarray
    cap: int

    @classmethod
    def start(cls, labels: np.ndarray, cap: int) -> "_Runs":
        return cls(labels.copy(), np.ones(labels.shape, np.min_scalar_type(cap)), cap)

    def extend(self, labels: np.ndarray) -> None:
        if labels.shape != self.labels.shape:
            raise ValueError(
                f"this frame is {labels.shape}, but the frame before is {self.labels.shape}: all "
                "frames of a video must have the same size"
            )
        np.minimum(self.lengths, self.cap - 1, out=self.lengths)
        self.lengths *= labels == self.labels
        self.lengths += 1
        self.labels = labels.copy()


def official_window_scores(
    video: VideoWindows, window_size: int, longest_left_out: int = OFFICIAL_LONGEST_LEFT_OUT
) -> list[float]:
    """The windows of a video that the official VC_n counts.

    The official scripts leave out the last window of each video, windows with no pixel of constant
    ground truth, and short videos altogether: CFFM's those of 16 frames or fewer, VSPW's own those
    of n or fewer. The two differ for n below 16. Where frames were skipped, all of this stays as it
    is: the frames of a video are all its frames, its last window is the one at its end, whether it
    can be scored or not, and windows that hold a skipped frame do not count.

    Args:
        video: the video's windows.
        window_size: n, one of those that ``video`` was scored with.
        longest_left_out: 16 as in CFFM's script; n as in VSPW's, or 0, since a video of n frames
            has its last window alone.

    Returns:
        At most L - n scores, in the order of the windows.
    """
    if video.num_frames <= longest_left_out:
        return []
    return defined_scores(video.scores[window_size][:-1])


def defined_scores(scores: Sequence[float]) -> list[float]:
    """The scores that are not NaN."""
    return [score for score in scores if not math.isnan(score)]


def pooled_mean(scores: Mapping[str, Sequence[float]]) -> float:
    """Mean over all windows of all videos; NaN if there is none.

    The sum is exact until its one rounding, so the mean depends neither on the order in which the
    videos were scored nor on how many processes shared them.

    Args:
        scores: video -> scores of its windows.
    """
    pooled = [score for video in sorted(scores) for score in scores[video]]
    return math.fsum(pooled) / len(pooled) if pooled else math.nan
