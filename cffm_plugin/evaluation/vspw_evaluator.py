"""VSPWEvaluator: mIoU and video consistency of whole videos, frame by frame, in bounded memory."""

import json
import logging
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from PIL import Image
from tabulate import tabulate

from cffm_plugin.data.images import LabelMapping, read_mask

from .metrics import (
    OFFICIAL_LONGEST_LEFT_OUT,
    SegmentationScores,
    VideoConsistency,
    VideoWindows,
    confusion_matrix,
    official_window_scores,
    pooled_mean,
    segmentation_scores,
)

logger = logging.getLogger(__name__)

_LONG_VIDEOS = f"videos_longer_than_{OFFICIAL_LONGEST_LEFT_OUT}"
_NEEDS_WHOLE_VIDEOS = (
    "VSPWEvaluator needs a test loader that gives every video whole and its frames in order to one "
    "process; build_clip_test_loader does."
)


class VSPWEvaluator(DatasetEvaluator):
    """Scores label maps of whole videos with VSPW's metrics under their official names.

    mIoU, fwIoU, mACC and pACC come from one confusion matrix over all labelled pixels of all
    videos, mVC8 and mVC16 from all windows of all videos longer than 16 frames but each video's
    last window. All are in percent. A frame without ground truth counts nowhere, nor do the
    windows that hold it.

    Reads of the dataset's metadata: ``stuff_classes`` (K names), ``label_mapping`` (a
    ``LabelMapping`` with K classes), and to save predictions ``stuff_colors`` (K RGB triples).
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | PathLike | None = None,
        save_predictions: bool = False,
        distributed: bool = True,
        window_sizes: Sequence[int] = (8, 16),
    ) -> None:
        """
        Args:
            dataset_name: a name that ``MetadataCatalog`` knows.
            output_dir: where ``vspw_results.json`` and the predictions go; None writes neither.
            save_predictions: also write ``result_submission/<video>/<frame>.png``, palette PNGs
                whose pixel values are class indices.
            distributed: gather from all processes; the main one alone returns results. If False,
                each process evaluates what it got.
            window_sizes: the n of mVC_n.

        Raises:
            ValueError: the metadata lack something or contradict themselves, or
                ``save_predictions`` is set without ``output_dir``.
        """
        if save_predictions and output_dir is None:
            raise ValueError("VSPWEvaluator: save_predictions=True needs an output_dir")
        self._dataset_name = dataset_name
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._window_sizes = tuple(window_sizes)
        self._class_names = list(_metadata_entry(dataset_name, "stuff_classes"))
        self._label_mapping: LabelMapping = _metadata_entry(dataset_name, "label_mapping")
        self._check_classes()
        self._palette = self._read_palette() if save_predictions else None
        self.reset()

    def reset(self) -> None:
        """Forget all videos."""
        self._tally = _Tally.empty(self._num_classes)
        self._open: _OpenVideo | None = None

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take the next frames of the video under way, or the first ones of a new video.

        Args:
            inputs: test records: ``video_id``, ``frame_index`` (from 0), ``num_frames``,
                ``file_name``, and ``sem_seg_file_name`` where there is ground truth.
            outputs: for each record ``{"sem_seg": (K, H, W) logits}``, of the mask file's size.

        Raises:
            RuntimeError: a video's frames do not come whole and in order.
            ValueError: a record lacks a key; logits or mask have the wrong size; the mask is not an
                index mask.
            FileNotFoundError: there is no such mask file.
        """
        for record, output in zip(inputs, outputs, strict=True):
            video = self._video_of(record)
            prediction = self._label_map(record, output["sem_seg"])
            if self._palette is not None:
                self._save(record, prediction)
            self._score(record, video, prediction)
            if video.consistency.num_frames == video.num_frames:
                self._tally.videos[video.video_id] = video.consistency.windows()
                self._open = None

    def evaluate(self) -> OrderedDict | None:
        """Score all videos of all processes, log the scores and write ``vspw_results.json``.

        Returns:
            ``{"sem_seg": {...}}`` with mIoU, fwIoU, mACC, pACC, mVC8, mVC16 and ``IoU-<class>``, in
            percent, NaN where undefined; empty where no frame had ground truth; None in all
            processes but the main one.

        Raises:
            RuntimeError: a video was cut short, or two processes got the same one. All processes
                raise it.
        """
        self._tally.problem = self._open.cut_short() if self._open is not None else None
        tallies = comm.all_gather(self._tally) if self._distributed else [self._tally]
        total = _Tally.merged(tallies)
        if self._distributed and not comm.is_main_process():
            return None
        if self._palette is not None:
            logger.info("Predictions are in %s", self._submission_dir)
        if total.labelled_frames == 0:
            logger.info(
                "%s: none of the %d frames has ground truth (sem_seg_file_name), so there are no "
                "scores.",
                self._dataset_name,
                total.frames,
            )
            return OrderedDict()
        scores = segmentation_scores(total.confusion)
        results = self._results(scores, total.videos)
        self._log(scores, results, total)
        if self._output_dir is not None:
            self._write_json(results, total)
        return OrderedDict(sem_seg=results)

    @property
    def _num_classes(self) -> int:
        return len(self._class_names)

    @property
    def _submission_dir(self) -> Path:
        assert self._output_dir is not None  # the constructor saw to it
        return self._output_dir / "result_submission"

    def _check_classes(self) -> None:
        names, mapping = self._class_names, self._label_mapping
        if len(names) != mapping.num_classes:
            raise ValueError(
                f"Dataset {self._dataset_name!r} has {len(names)} stuff_classes, but its "
                f"label_mapping has {mapping.num_classes} classes"
            )
        if len(set(names)) != len(names):
            raise ValueError(
                f"Dataset {self._dataset_name!r} has stuff_classes of the same name; results are "
                "named after classes, so the names must differ"
            )
        if len(names) > 255:
            raise ValueError(
                f"Dataset {self._dataset_name!r} has {len(names)} classes, but 8-bit masks hold at "
                "most 255 and void"
            )

    def _read_palette(self) -> list[int]:
        colors = _metadata_entry(self._dataset_name, "stuff_colors")
        if len(colors) != self._num_classes:
            raise ValueError(
                f"Dataset {self._dataset_name!r} has {len(colors)} stuff_colors for "
                f"{self._num_classes} stuff_classes"
            )
        return [int(channel) for color in colors for channel in color]

    def _video_of(self, record: Mapping[str, Any]) -> "_OpenVideo":
        """The video that a record is the next frame of."""
        missing = {"video_id", "frame_index", "num_frames", "file_name"} - record.keys()
        if missing:
            raise ValueError(
                f"VSPWEvaluator: a record lacks {', '.join(sorted(missing))}; it has "
                f"{', '.join(sorted(record))}. {_NEEDS_WHOLE_VIDEOS}"
            )
        video_id, num_frames = record["video_id"], record["num_frames"]
        if self._open is None:
            if video_id in self._tally.videos:
                raise RuntimeError(f"Video {video_id} came a second time. {_NEEDS_WHOLE_VIDEOS}")
            self._open = _OpenVideo(video_id, num_frames, VideoConsistency(self._window_sizes))
        video = self._open
        if video_id != video.video_id:
            raise RuntimeError(f"{video.cut_short()} Then came video {video_id}.")
        expected = video.consistency.num_frames
        if (record["frame_index"], num_frames) != (expected, video.num_frames):
            raise RuntimeError(
                f"Video {video_id}: expected frame {expected} of {video.num_frames} (counted from "
                f"0), but got frame {record['frame_index']} of {num_frames}, "
                f"{record['file_name']}. {_NEEDS_WHOLE_VIDEOS}"
            )
        return video

    def _label_map(self, record: Mapping[str, Any], logits: torch.Tensor) -> np.ndarray:
        """(K, H, W) logits -> (H, W) uint8 class indices."""
        if logits.ndim != 3 or logits.shape[0] != self._num_classes:
            raise ValueError(
                f"{_frame_name(record)}: expected logits (K, H, W) with K = {self._num_classes}, "
                f"the classes of {self._dataset_name!r}, but the model gave {tuple(logits.shape)}"
            )
        return logits.argmax(dim=0).to(torch.uint8).cpu().numpy()

    def _score(
        self, record: Mapping[str, Any], video: "_OpenVideo", prediction: np.ndarray
    ) -> None:
        self._tally.frames += 1
        truth = self._read_truth(record, video)
        if truth is None:
            video.consistency.skip_frame()
            return
        if prediction.shape != truth.shape:
            raise ValueError(
                f"{_frame_name(record)}: the prediction is {_size(prediction)}, but its mask "
                f"{record['sem_seg_file_name']} is {_size(truth)} (height x width). Give the model "
                "the mask's size as the record's height and width."
            )
        self._tally.labelled_frames += 1
        confusion = confusion_matrix(truth, prediction, self._num_classes)
        self._tally.confusion += confusion
        if video.num_frames > OFFICIAL_LONGEST_LEFT_OUT:
            self._tally.long_confusion += confusion
        try:
            video.consistency.update(truth, prediction)
        except ValueError as error:
            raise ValueError(f"{_frame_name(record)}: {error}") from error

    def _read_truth(self, record: Mapping[str, Any], video: "_OpenVideo") -> np.ndarray | None:
        """(H, W) class indices, void as 255; None if the frame has no ground truth."""
        file_name = record.get("sem_seg_file_name")
        if file_name is None:
            return None
        raw = read_mask(file_name)
        if not video.has_warned and (foreign := self._label_mapping.foreign_values(raw)):
            video.has_warned = True
            logger.warning(
                "Video %s: the mask %s holds values that stand for no class of %s: %s. They are "
                "treated as void. Said once per video.",
                video.video_id,
                file_name,
                self._dataset_name,
                ", ".join(map(str, foreign)),
            )
        return self._label_mapping(raw)

    def _save(self, record: Mapping[str, Any], prediction: np.ndarray) -> None:
        assert self._palette is not None
        folder = self._submission_dir / record["video_id"]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(prediction)
        image.putpalette(self._palette)
        image.save(folder / f"{Path(record['file_name']).stem}.png")

    def _results(
        self, scores: SegmentationScores, videos: Mapping[str, VideoWindows]
    ) -> dict[str, float]:
        results = _percentages(scores)
        for n in self._window_sizes:
            windows = {name: official_window_scores(video, n) for name, video in videos.items()}
            results[f"mVC{n}"] = 100 * pooled_mean(windows)
        for name, iou in zip(self._class_names, scores.class_iou):
            results[f"IoU-{name}"] = 100 * float(iou)
        return results

    def _log(
        self, scores: SegmentationScores, results: Mapping[str, float], total: "_Tally"
    ) -> None:
        columns = zip(
            self._class_names,
            (100 * scores.class_iou).tolist(),
            (100 * scores.class_accuracy).tolist(),
            scores.class_pixels.tolist(),
        )
        rows = [[_none_for_nan(cell) for cell in row] for row in columns]
        header = ("class", "IoU", "accuracy", "pixels")
        table = tabulate(rows, header, "pipe", floatfmt=".2f", missingval="-")
        logger.info("%s, percent per class:\n%s", self._dataset_name, table)
        summary = {k: f"{v:.2f}" for k, v in results.items() if not k.startswith("IoU-")}
        logger.info(
            "%s, %d video(s), %d of %d frames with ground truth:\n%s",
            self._dataset_name,
            len(total.videos),
            total.labelled_frames,
            total.frames,
            tabulate([summary.values()], summary.keys(), "pipe", disable_numparse=True),
        )
        self._warn_of_undefined(results, total)

    def _warn_of_undefined(self, results: Mapping[str, float], total: "_Tally") -> None:
        if math.isnan(results["mIoU"]):
            logger.warning("%s: mIoU is undefined: every pixel is void.", self._dataset_name)
        lengths = [video.num_frames for video in total.videos.values()]
        for n in self._window_sizes:
            if math.isnan(results[f"mVC{n}"]):
                logger.warning(
                    "%s: mVC%d is undefined: no window of %d frames counts. The official score "
                    "leaves out videos of %d frames or fewer (%d of these %d), each video's last "
                    "window, and windows where no pixel keeps its true label.",
                    self._dataset_name,
                    n,
                    n,
                    OFFICIAL_LONGEST_LEFT_OUT,
                    sum(length <= OFFICIAL_LONGEST_LEFT_OUT for length in lengths),
                    len(lengths),
                )

    def _write_json(self, results: Mapping[str, float], total: "_Tally") -> None:
        assert self._output_dir is not None
        per_video = {
            name: {"num_frames": video.num_frames}
            | {
                f"VC{n}": 100 * pooled_mean({name: official_window_scores(video, n)})
                for n in self._window_sizes
            }
            for name, video in sorted(total.videos.items())
        }
        content = {
            "dataset": self._dataset_name,
            "sem_seg": results,
            _LONG_VIDEOS: _percentages(segmentation_scores(total.long_confusion)),
            "per_video": per_video,
        }
        self._output_dir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_none_for_nan(content), indent=1, allow_nan=False)
        path = self._output_dir / "vspw_results.json"
        path.write_text(text + "\n", encoding="utf-8")
        logger.info("Results are in %s", path)


@dataclass
class _OpenVideo:
    """The video whose frames are coming in."""

    video_id: str
    num_frames: int
    consistency: VideoConsistency
    has_warned: bool = False

    def cut_short(self) -> str:
        return (
            f"Video {self.video_id} was cut short: {self.consistency.num_frames} of its "
            f"{self.num_frames} frames came. {_NEEDS_WHOLE_VIDEOS}"
        )


@dataclass
class _Tally:
    """What processes tell each other: counts, the windows of whole videos, and what went wrong."""

    confusion: np.ndarray
    long_confusion: np.ndarray  # over the videos longer than 16 frames
    videos: dict[str, VideoWindows] = field(default_factory=dict)
    frames: int = 0
    labelled_frames: int = 0
    problem: str | None = None

    @classmethod
    def empty(cls, num_classes: int) -> "_Tally":
        counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        return cls(counts, counts.copy())

    @classmethod
    def merged(cls, tallies: "Sequence[_Tally]") -> "_Tally":
        """The sum of all processes' tallies.

        Raises:
            RuntimeError: one of them has a problem, or two hold the same video.
        """
        total = cls.empty(len(tallies[0].confusion))
        for tally in tallies:
            if tally.problem is not None:
                raise RuntimeError(tally.problem)
            if shared := sorted(total.videos.keys() & tally.videos.keys()):
                raise RuntimeError(
                    f"Two processes got video {', '.join(shared)}. {_NEEDS_WHOLE_VIDEOS}"
                )
            total.confusion += tally.confusion
            total.long_confusion += tally.long_confusion
            total.videos.update(tally.videos)
            total.frames += tally.frames
            total.labelled_frames += tally.labelled_frames
        return total


def _metadata_entry(dataset_name: str, key: str) -> Any:
    value = MetadataCatalog.get(dataset_name).get(key, None)
    if value is None:
        raise ValueError(
            f"VSPWEvaluator: the metadata of dataset {dataset_name!r} have no {key!r}. Set it with "
            f"MetadataCatalog.get({dataset_name!r}).set({key}=...)."
        )
    return value


def _percentages(scores: SegmentationScores) -> dict[str, float]:
    return {
        "mIoU": 100 * scores.miou,
        "fwIoU": 100 * scores.fwiou,
        "mACC": 100 * scores.macc,
        "pACC": 100 * scores.pacc,
    }


def _frame_name(record: Mapping[str, Any]) -> str:
    return f"Video {record['video_id']}, frame {record['frame_index']} ({record['file_name']})"


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))


def _none_for_nan(value: Any) -> Any:
    """``value`` with None for every NaN in it, its dicts included: strict JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _none_for_nan(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
