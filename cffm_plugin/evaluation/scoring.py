"""From the frames of videos to the scores of a dataset: what evaluator and tools share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..results import (
    CLASS_IOU,
    FWIOU,
    MACC,
    MIOU,
    PACC,
    Results,
    mvc,
    mvc_pooled,
    mvc_vspw,
    strict_vc,
    temporal_accuracy,
    video_vc,
)
from .metrics import (
    OFFICIAL_LONGEST_LEFT_OUT,
    SegmentationScores,
    VideoConsistency,
    VideoWindows,
    confusion_matrix,
    defined_scores,
    official_window_scores,
    pooled_mean,
    segmentation_scores,
)

LONG_VIDEOS = f"videos_longer_than_{OFFICIAL_LONGEST_LEFT_OUT}"


@dataclass
class Tally:
    """What is counted over videos. Tallies of several processes add up to one.

    Attributes:
        confusion: (K, K + 1) int64, as ``confusion_matrix`` gives it, summed over all videos.
        long_confusion: the same over the videos longer than 16 frames.
        videos: video id -> its windows, of the videos that are complete.
        frames: frames seen.
        scored_frames: those that had both ground truth and a prediction.
    """

    confusion: np.ndarray
    long_confusion: np.ndarray
    videos: dict[str, VideoWindows] = field(default_factory=dict)
    frames: int = 0
    scored_frames: int = 0

    @classmethod
    def empty(cls, num_classes: int) -> "Tally":
        """A tally of nothing for K classes."""
        counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        return cls(counts, counts.copy())

    def add(self, other: "Tally") -> None:
        """Take in the counts of other videos.

        Raises:
            ValueError: both hold the same video.
        """
        if shared := sorted(self.videos.keys() & other.videos.keys()):
            raise ValueError(f"Scored more than once: video {', '.join(shared)}")
        self.confusion += other.confusion
        self.long_confusion += other.long_confusion
        self.videos.update(other.videos)
        self.frames += other.frames
        self.scored_frames += other.scored_frames


class VideoScorer:
    """Scores one video into a tally as its frames come, in order; keeps no frame but the last."""

    def __init__(
        self, tally: Tally, video_id: str, num_frames: int, window_sizes: Sequence[int]
    ) -> None:
        """
        Args:
            tally: what to count into. The video's windows come in after its last frame.
            video_id: the video's name.
            num_frames: L, its length.
            window_sizes: the n of VC_n.
        """
        self.video_id = video_id
        self.num_frames = num_frames
        self._tally = tally
        self._consistency = VideoConsistency(window_sizes)

    @property
    def frames_seen(self) -> int:
        """Frames taken so far, which is also the index of the next one."""
        return self._consistency.num_frames

    def update(self, truth: np.ndarray | None, prediction: np.ndarray | None) -> None:
        """Take the video's next frame. One that lacks truth or prediction counts nowhere.

        Args:
            truth: (H, W) class indices, void 255; None if there is no ground truth.
            prediction: (H, W) class indices; None if there is no prediction.

        Raises:
            ValueError: the shapes differ from each other or from the frame before.
        """
        if truth is None or prediction is None:
            self._consistency.skip_frame()
        else:
            confusion = confusion_matrix(truth, prediction, len(self._tally.confusion))
            self._consistency.update(truth, prediction)
            self._tally.scored_frames += 1
            self._tally.confusion += confusion
            if self.num_frames > OFFICIAL_LONGEST_LEFT_OUT:
                self._tally.long_confusion += confusion
        self._tally.frames += 1
        if self.frames_seen == self.num_frames:
            self._tally.videos[self.video_id] = self._consistency.windows()


CFFM_RULE = f"as CFFM's script: without videos of {OFFICIAL_LONGEST_LEFT_OUT} frames or fewer"
VSPW_RULE = "as VSPW's script: without videos of no more frames than a window"
POOLED_RULE = (
    "as the script of DVIS++, PMT and VidEoMT, which calls it by the last length: the windows of "
    "all these lengths together, without videos of no more frames than a window"
)


@dataclass(frozen=True)
class ConsistencyScore:
    """A video consistency over a dataset.

    Attributes:
        mean: over the windows, a fraction.
        windows: how many there were.
        rule: which ones count, in words.
    """

    mean: float
    windows: int
    rule: str


@dataclass(frozen=True, eq=False)
class DatasetScores:
    """All scores of a dataset's videos. NaN stands for what is undefined.

    Attributes:
        dataset: its name, for people to read.
        class_names: K names.
        window_sizes: the n of VC_n.
        frames: the videos' frames.
        scored_frames: those that had both ground truth and a prediction; the others count nowhere.
        all_videos: confusion-matrix scores over all videos.
        long_videos: the same over the videos longer than 16 frames, as the official VC script.
        videos: video id -> its windows.
        segmentation_by_video: video id -> confusion-matrix scores of that video alone. Empty where
            a model was evaluated: the evaluator keeps one matrix for all videos.
    """

    dataset: str
    class_names: Sequence[str]
    window_sizes: Sequence[int]
    frames: int
    scored_frames: int
    all_videos: SegmentationScores
    long_videos: SegmentationScores
    videos: Mapping[str, VideoWindows]
    segmentation_by_video: Mapping[str, SegmentationScores] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tally: Tally, *, dataset: str, class_names: Sequence[str], window_sizes: Sequence[int]
    ) -> "DatasetScores":
        """The scores of what was counted."""
        return cls(
            dataset=dataset,
            class_names=tuple(class_names),
            window_sizes=tuple(window_sizes),
            frames=tally.frames,
            scored_frames=tally.scored_frames,
            all_videos=segmentation_scores(tally.confusion),
            long_videos=segmentation_scores(tally.long_confusion),
            videos=dict(sorted(tally.videos.items())),
        )

    def results(self, vc_sizes: Sequence[int] | None = None) -> Results:
        """Everything that an evaluation's file says.

        Args:
            vc_sizes: see ``vc``.
        """
        vc, official = self.vc(vc_sizes), self.official_vc()
        ious = zip(self.class_names, self.all_videos.class_iou)
        return Results(
            dataset=self.dataset,
            frames=self.frames,
            scored_frames=self.scored_frames,
            sem_seg=_percentages(self.all_videos)
            | {name: 100 * score.mean for name, score in official.items()}
            | {f"{CLASS_IOU}{name}": 100 * float(iou) for name, iou in ious},
            videos_longer_than_16=_percentages(self.long_videos),
            windows={name: score.windows for name, score in official.items()},
            per_video=self._per_video(),
            official=self.official_segmentation()
            | {name: score.mean for name, score in vc.items()},
            vc={
                name: {"percent": 100 * score.mean, "windows": score.windows, "rule": score.rule}
                for name, score in vc.items()
            },
            strict=self.strict(),
        )

    def official_segmentation(self) -> dict[str, dict[str, float]]:
        """Both scopes' numbers as the official scripts print them: fractions, under their names."""
        return {
            scope: {
                "pixel_acc": scores.pacc,
                "class_acc": scores.macc,
                MIOU.name: scores.miou,
                FWIOU.name: scores.fwiou,
            }
            for scope, scores in (("all_videos", self.all_videos), (LONG_VIDEOS, self.long_videos))
        }

    def official_vc(self) -> dict[str, ConsistencyScore]:
        """mVC<n> as CFFM's script prints it. ``vc`` has the others too."""
        return {mvc(n).name: self._vc([n], CFFM_RULE) for n in self.window_sizes}

    def vc(self, window_sizes: Sequence[int] | None = None) -> dict[str, ConsistencyScore]:
        """Every mVC that is published, each under a name of its own.

        ``mVC<n>`` as CFFM's script counts it; ``mVC<n>_vspw`` as VSPW's, where that may differ; and
        ``mVC8+16``, what the script of DVIS++, PMT and VidEoMT calls VC16: it keeps the windows of
        the sizes before, so that its second number is the mean over the windows of 8 and of 16
        frames together, by VSPW's rule.

        Args:
            window_sizes: in the order of such a script, by default all.
        """
        sizes = self.window_sizes if window_sizes is None else tuple(window_sizes)
        found = {mvc(n).name: self._vc([n], CFFM_RULE) for n in sizes}
        differing = [n for n in sizes if n < OFFICIAL_LONGEST_LEFT_OUT]
        found |= {mvc_vspw(n).name: self._vc([n], VSPW_RULE, 0) for n in differing}
        for number in range(2, len(sizes) + 1):
            pooled = mvc_pooled(sizes[:number]).name
            found[pooled] = self._vc(sizes[:number], POOLED_RULE, 0)
        return found

    def _vc(
        self, sizes: Sequence[int], rule: str, longest_left_out: int = OFFICIAL_LONGEST_LEFT_OUT
    ) -> ConsistencyScore:
        windows = {
            name: [s for n in sizes for s in official_window_scores(video, n, longest_left_out)]
            for name, video in self.videos.items()
        }
        return ConsistencyScore(pooled_mean(windows), sum(map(len, windows.values())), rule)

    def _per_video(self) -> dict[str, dict[str, float]]:
        """video id -> ``num_frames`` and its official VC<n> in percent."""
        return {
            name: {"num_frames": video.num_frames}
            | {
                video_vc(n).name: 100 * pooled_mean({name: official_window_scores(video, n)})
                for n in self.window_sizes
            }
            for name, video in self.videos.items()
        }

    def strict(self) -> dict[str, dict]:
        """Scores that leave out nothing but void, in percent.

        ``strict_VC<n>`` and ``temporal_accuracy<n>`` (see ``VideoWindows``) over all windows of all
        videos of at least n frames, under ``over_windows`` as the mean over windows, under
        ``over_videos`` as the mean over videos, and under ``per_video`` for each video;
        ``windows`` holds how many windows each is taken over.
        """
        windows = {name: _strict_windows(video) for name, video in self.videos.items()}
        names = [kind(n).place[-1] for kind in _STRICT_KINDS for n in self.window_sizes]
        per_video: dict[str, dict[str, float]] = {
            video: {name: pooled_mean({video: scores[name]}) for name in names}
            for video, scores in windows.items()
        }
        over_windows, over_videos = {}, {}
        for name in names:
            over_windows[name] = 100 * pooled_mean({v: windows[v][name] for v in windows})
            means = {v: defined_scores([per_video[v][name]]) for v in windows}
            over_videos[name] = 100 * pooled_mean(means)
        return {
            "over_windows": over_windows,
            "over_videos": over_videos,
            "windows": {name: sum(len(windows[v][name]) for v in windows) for name in names},
            "per_video": {
                video: {name: 100 * score for name, score in scores.items()}
                for video, scores in per_video.items()
            },
        }


_STRICT_KINDS = (strict_vc, temporal_accuracy)


def _strict_windows(video: VideoWindows) -> dict[str, list[float]]:
    """Name of a strict score -> its value in every window where it is defined."""
    kinds = zip(_STRICT_KINDS, (video.strict_scores, video.temporal_accuracies))
    return {kind(n).place[-1]: defined_scores(s) for kind, sizes in kinds for n, s in sizes.items()}


def _percentages(scores: SegmentationScores) -> dict[str, float]:
    values = (scores.miou, scores.fwiou, scores.macc, scores.pacc)
    return {m.name: 100 * v for m, v in zip((MIOU, FWIOU, MACC, PACC), values, strict=True)}
