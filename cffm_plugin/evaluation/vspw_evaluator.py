"""VSPWEvaluator: mIoU and video consistency of whole videos, frame by frame, in bounded memory."""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from cffm_plugin.data import (
    DEFAULT_MAX_MEGAPIXELS,
    LabelMapping,
    path_below,
    save_label_map,
)
from cffm_plugin.files import whole_file
from cffm_plugin.results import RESULTS_FILE

from .scoring import DatasetScores, Tally, VideoScorer
from .tables import log_scores
from .whole_videos import WholeVideos, is_whole_video

logger = logging.getLogger(__name__)

_NEEDS_WHOLE_VIDEOS = (
    "VSPWEvaluator needs a test loader that gives every video whole and its frames in order to one "
    "process; build_clip_test_loader does."
)


class VSPWEvaluator(DatasetEvaluator):
    """Scores label maps of whole videos with VSPW's metrics under their official names.

    mIoU, fwIoU, mACC and pACC come from one confusion matrix over all labelled pixels of all
    videos, mVC8 and mVC16 from all windows of all videos longer than 16 frames but each video's
    last window; log and file have the mVC of other scripts too (``DatasetScores.vc``). All are in
    percent. A frame without ground truth counts nowhere, nor do the windows that hold it: where
    labels are sparse, VC runs over consecutive labelled frames alone.

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
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
        model_dataset: str | None = None,
        all_vc: bool = False,
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
            max_megapixels: larger masks are an error, see ``read_mask``.
            model_dataset: of models that give whole videos: the dataset whose metadata
                (``stuff_dataset_id_to_contiguous_id``) say in which order the model has its
                classes, by default ``dataset_name``.
            all_vc: the results hold the mVC of other scripts too, see ``DatasetScores.vc``; the log
                and the file always do.

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
        self._max_megapixels = max_megapixels
        self._all_vc = all_vc
        self._class_names = list(_metadata_entry(dataset_name, "stuff_classes"))
        self._label_mapping: LabelMapping = _metadata_entry(dataset_name, "label_mapping")
        self._check_classes()
        self._whole_videos = WholeVideos(
            dataset_name, model_dataset or dataset_name, self._label_mapping
        )
        self._colors = self._read_colors() if save_predictions else None
        self.reset()

    def reset(self) -> None:
        """Forget all videos."""
        self._tally = Tally.empty(self._num_classes)
        self._open: VideoScorer | None = None
        self._has_warned = False  # of foreign values in the open video

    def process(
        self,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    ) -> None:
        """Take the next frames of the video under way, or the first ones of a new video.

        Also takes what DVIS++, PMT and VidEoMT give: a video and one output of it with
        ``pred_masks``, see ``WholeVideos.frames``.

        Args:
            inputs: test records: ``video_id``, ``frame_index`` (from 0), ``num_frames``,
                ``file_name``, and ``sem_seg_file_name`` where there is ground truth.
            outputs: for each record ``{"sem_seg": (K, H, W) logits}``, or ``{"label_map": (H, W)}``
                with the class of every pixel, of the mask file's size.

        Raises:
            RuntimeError: a video's frames do not come whole and in order.
            ValueError: a record lacks a key; logits or mask have the wrong size; the mask is not an
                index mask; no file may be named after a video or frame whose prediction is saved.
            FileNotFoundError: there is no such mask file.
            FloatingPointError: logits are NaN or infinite.
        """
        for record, output in self._frames(inputs, outputs):
            video = self._video_of(record)
            prediction = self._label_map(record, output)
            if self._colors is not None:
                self._save(record, prediction)
            self._score(record, video, prediction)
            if video.frames_seen == video.num_frames:
                self._open = None

    def evaluate(self) -> OrderedDict | None:
        """Score all videos of all processes, log the scores and write ``vspw_results.json``.

        Returns:
            ``{"sem_seg": {...}, "temporal": {...}}``: mIoU, fwIoU, mACC, pACC, mVC8, mVC16 and
            ``IoU-<class>``; and the temporal accuracies TA8 and TA16, over all windows of all
            videos. In percent, NaN where undefined; empty where no frame had ground truth; None in
            all processes but the main one.

        Raises:
            RuntimeError: a video was cut short, or two processes got the same one. All processes
                raise it.
        """
        problem = _cut_short(self._open) if self._open is not None else None
        own = (self._tally, problem)
        total = _merged(comm.all_gather(own) if self._distributed else [own])
        if self._distributed and not comm.is_main_process():
            return None
        if self._colors is not None:
            logger.info("Predictions are in %s", self._submission_dir)
        if total.scored_frames == 0:
            logger.info(
                "%s: none of the %d frames has ground truth (sem_seg_file_name), so there are no "
                "scores.",
                self._dataset_name,
                total.frames,
            )
            return OrderedDict()
        scores = DatasetScores.of(
            total,
            dataset=self._dataset_name,
            class_names=self._class_names,
            window_sizes=self._window_sizes,
        )
        log_scores(scores)
        results = scores.results()
        if self._output_dir is not None:
            path = self._output_dir / RESULTS_FILE
            results.write(path)
            logger.info("Results are in %s", path)
        return OrderedDict(results.curves(self._all_vc))

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

    def _read_colors(self) -> list[Sequence[int]]:
        colors = _metadata_entry(self._dataset_name, "stuff_colors")
        if len(colors) != self._num_classes:
            raise ValueError(
                f"Dataset {self._dataset_name!r} has {len(colors)} stuff_colors for "
                f"{self._num_classes} stuff_classes"
            )
        return list(colors)

    def _video_of(self, record: Mapping[str, Any]) -> VideoScorer:
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
            self._open = VideoScorer(self._tally, video_id, num_frames, self._window_sizes)
            self._has_warned = False
        video = self._open
        if video_id != video.video_id:
            raise RuntimeError(f"{_cut_short(video)} Then came video {video_id}.")
        expected = video.frames_seen
        if (record["frame_index"], num_frames) != (expected, video.num_frames):
            raise RuntimeError(
                f"Video {video_id}: expected frame {expected} of {video.num_frames} (counted from "
                f"0), but got frame {record['frame_index']} of {num_frames}, "
                f"{record['file_name']}. {_NEEDS_WHOLE_VIDEOS}"
            )
        return video

    def _frames(
        self,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Records and outputs, of frames."""
        outputs_by_input = [outputs] if isinstance(outputs, Mapping) else outputs
        for record, output in zip(inputs, outputs_by_input, strict=True):
            if is_whole_video(output):
                yield from self._whole_videos.frames(record, output)
            else:
                yield record, output

    def _label_map(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> np.ndarray:
        """A model's output -> (H, W) uint8 class indices."""
        if "label_map" in output:
            return output["label_map"].to(torch.uint8).cpu().numpy()
        logits = output["sem_seg"]
        if logits.ndim != 3 or logits.shape[0] != self._num_classes:
            raise ValueError(
                f"{_frame_name(record)}: expected logits (K, H, W) with K = {self._num_classes}, "
                f"the classes of {self._dataset_name!r}, but the model gave {tuple(logits.shape)}"
            )
        largest, labels = logits.max(dim=0)  # NaN is the largest
        if not bool(largest.isfinite().all()):
            raise FloatingPointError(
                f"{_frame_name(record)}: logits are NaN or infinite. Look at the weights "
                "(MODEL.WEIGHTS) and at this file; of models in mixed precision, at its range"
            )
        return labels.to(torch.uint8).cpu().numpy()

    def _score(self, record: Mapping[str, Any], video: VideoScorer, prediction: np.ndarray) -> None:
        truth = self._read_truth(record)
        if truth is not None and prediction.shape != truth.shape:
            raise ValueError(
                f"{_frame_name(record)}: the prediction is {_size(prediction)}, but its mask "
                f"{record['sem_seg_file_name']} is {_size(truth)} (height x width). Give the model "
                "the mask's size as the record's height and width."
            )
        try:
            video.update(truth, prediction)
        except ValueError as error:
            raise ValueError(f"{_frame_name(record)}: {error}") from error

    def _read_truth(self, record: Mapping[str, Any]) -> np.ndarray | None:
        """(H, W) class indices, void as 255; None if the frame has no ground truth."""
        file_name = record.get("sem_seg_file_name")
        if file_name is None:
            return None
        raw = self._label_mapping.read(file_name, self._max_megapixels)
        if not self._has_warned and (foreign := self._label_mapping.foreign_values(raw)):
            self._has_warned = True
            logger.warning(
                "Video %s: the mask %s holds values that stand for no class of %s: %s. They are "
                "treated as void. Said once per video.",
                record["video_id"],
                file_name,
                self._dataset_name,
                ", ".join(map(self._label_mapping.encoding.name_of, foreign)),
            )
        return self._label_mapping(raw)

    def _save(self, record: Mapping[str, Any], prediction: np.ndarray) -> None:
        assert self._colors is not None
        name = f"{record['video_id']}/{Path(record['file_name']).stem}.png"
        file = path_below(self._submission_dir, name)  # records come from other projects too
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file, durable=False) as partial:
            save_label_map(partial, prediction, self._colors)


def _cut_short(video: VideoScorer) -> str:
    return (
        f"Video {video.video_id} was cut short: {video.frames_seen} of its {video.num_frames} "
        f"frames came. {_NEEDS_WHOLE_VIDEOS}"
    )


def _merged(tallies: Sequence[tuple[Tally, str | None]]) -> Tally:
    """The sum of all processes' tallies, each of which comes with the problem it had, if any.

    Raises:
        RuntimeError: one of them has a problem, or two hold the same video.
    """
    total = Tally.empty(len(tallies[0][0].confusion))
    for tally, problem in tallies:
        if problem is not None:
            raise RuntimeError(problem)
        if shared := sorted(total.videos.keys() & tally.videos.keys()):
            raise RuntimeError(
                f"Two processes got video {', '.join(shared)}. {_NEEDS_WHOLE_VIDEOS}"
            )
        total.add(tally)
    return total


def _metadata_entry(dataset_name: str, key: str) -> Any:
    value = MetadataCatalog.get(dataset_name).get(key, None)
    if value is None:
        raise ValueError(
            f"VSPWEvaluator: the metadata of dataset {dataset_name!r} have no {key!r}. Set it with "
            f"MetadataCatalog.get({dataset_name!r}).set({key}=...)."
        )
    return value


def _frame_name(record: Mapping[str, Any]) -> str:
    return f"Video {record['video_id']}, frame {record['frame_index']} ({record['file_name']})"


def _size(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape))
