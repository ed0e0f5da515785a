"""What models give that give one result a video, such as DVIS++, PMT and VidEoMT, as frames."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from cffm_plugin.data import Dataset, LabelMapping

_VOID = 255


def is_whole_video(output: Mapping[str, Any]) -> bool:
    """Whether an output is of a video, or of a frame."""
    return "pred_masks" in output


class WholeVideos:
    """Takes videos apart into the frames of a dataset.

    Args:
        dataset_name: that is scored against.
        model_dataset: that the model was trained on, see ``classes_of_model``.
        mapping: of the masks.
    """

    def __init__(self, dataset_name: str, model_dataset: str, mapping: LabelMapping) -> None:
        self._dataset_name = dataset_name
        self._model_dataset = model_dataset
        self._mapping = mapping

    def frames(
        self, video: Mapping[str, Any], output: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The records and outputs of a video's frames, as ``VSPWEvaluator`` takes them.

        Args:
            video: ``video_id``, ``file_names`` of all its L frames, and ``frame_idx``, which of
                them the model was given, by default all. L mask files as ``sem_mask_names``;
                without, they are those of the registered dataset.
            output: ``pred_masks``, (T, H, W) class indices of the model, 255 for none.

        Raises:
            ValueError: something is missing or does not fit, or a class is unknown.
        """
        video_id, files = video["video_id"], video["file_names"]
        indices = list(video.get("frame_idx", range(len(files))))
        predicted = _label_maps(video_id, output, len(indices))
        if "sem_mask_names" in video:
            masks = dict(zip((Path(file).stem for file in files), video["sem_mask_names"]))
        else:
            masks = self._masks_of(video_id)
        for index, labels in zip(indices, predicted):
            file = files[index]
            if Path(file).stem not in masks:
                raise ValueError(
                    f"Video {video_id}: {file} is no frame of {self._dataset_name!r}, which is "
                    "scored against"
                )
            unknown = [int(k) for k in np.unique(labels) if not _is_known(k, self._classes)]
            if unknown:
                raise ValueError(
                    f"Video {video_id}, frame {file}: the model predicts class {unknown[0]}, which "
                    f"stuff_dataset_id_to_contiguous_id of {self._model_dataset!r} does not hold. "
                    "Was it trained on that dataset?"
                )
            record = {
                "video_id": video_id,
                "frame_index": index,
                "num_frames": len(files),
                "file_name": file,
                "sem_seg_file_name": masks[Path(file).stem],
            }
            yield record, {"label_map": torch.from_numpy(self._classes[labels.astype(np.uint8)])}

    @cached_property
    def _classes(self) -> np.ndarray:
        return classes_of_model(self._model_dataset, self._mapping)

    @cached_property
    def _videos(self) -> dict[str, Mapping[str, Any]]:
        return {video["video_id"]: video for video in Dataset.registered(self._dataset_name).videos}

    def _masks_of(self, video_id: str) -> dict[str, str | None]:
        """Stem of a frame -> its mask, in the registered dataset."""
        if video_id not in self._videos:
            raise ValueError(
                f"{self._dataset_name!r} has no video {video_id}; it has "
                f"{', '.join(list(self._videos)[:5])} ..."
            )
        frames = self._videos[video_id]["frames"]
        return {Path(f["file_name"]).stem: f.get("sem_seg_file_name") for f in frames}


def _label_maps(video_id: str, output: Mapping[str, Any], num_frames: int) -> np.ndarray:
    """The model's class indices, (T, H, W)."""
    if output.get("task", "vss") != "vss":
        raise ValueError(
            f"Video {video_id}: the model gave the task {output['task']!r}. Semantic segmentation "
            'is "vss" (MODEL.MASK_FORMER.TEST.TASK of DVIS++, PMT and VidEoMT).'
        )
    predicted = torch.as_tensor(output["pred_masks"]).cpu().numpy()
    if predicted.ndim != 3 or len(predicted) != num_frames:
        raise ValueError(
            f"Video {video_id}: expected pred_masks (T, H, W), a class for every pixel of its "
            f"{num_frames} frames; got {predicted.shape}"
        )
    return predicted


def _is_known(label: int, classes: np.ndarray) -> bool:
    return label == _VOID or (0 <= label < _VOID and classes[int(label)] != _VOID)


def classes_of_model(dataset_name: str, mapping: LabelMapping) -> np.ndarray:
    """The model's class index -> the dataset's, (256,) uint8, 255 for none.

    The index of a model, "contiguous id", stands for the dataset's id in the metadata
    ``stuff_dataset_id_to_contiguous_id`` and ``thing_dataset_id_to_contiguous_id`` of what it was
    trained on. The ids are class indices 0..K-1, or else the values in mask files.

    Args:
        dataset_name: whose metadata say it.
        mapping: of the masks that are scored against.

    Raises:
        ValueError: the metadata have no such entry, or it contradicts itself or the dataset.
    """
    metadata = MetadataCatalog.get(dataset_name)
    name = "{}_dataset_id_to_contiguous_id"
    stuff = metadata.get(name.format("stuff"))
    if not stuff:
        raise ValueError(
            f"The metadata of {dataset_name!r} have no {name.format('stuff')!r}, so that it is not "
            "known which class the model means by which index: DVIS++, PMT and VidEoMT put things "
            "first. Name the dataset that the model was trained on: VSPWEvaluator(..., "
            "model_dataset=NAME). Or, for classes in the dataset's own order, set the entry to "
            "{k: k for k in range(K)}."
        )
    ids: dict[int, int] = {}
    for class_indices in (stuff, metadata.get(name.format("thing")) or {}):
        for dataset_id, index in class_indices.items():
            if ids.setdefault(index, dataset_id) != dataset_id:
                raise ValueError(
                    f"The metadata of {dataset_name!r}: index {index} stands for the ids "
                    f"{ids[index]} and {dataset_id}. Things and stuff need indices of their own."
                )
    count_from_0 = set(ids.values()) <= set(range(mapping.num_classes))
    class_of = dict(enumerate(range(mapping.num_classes))) if count_from_0 else mapping.class_of
    outside = sorted(set(ids.values()) - class_of.keys())
    if outside or not all(0 <= index < _VOID for index in ids):
        raise ValueError(
            f"{name.format('stuff')} of {dataset_name!r}: expected indices 0..254 of ids "
            f"0..{mapping.num_classes - 1}, the dataset's classes, or of its masks' values "
            f"{sorted(mapping.class_of)}; got {outside or sorted(ids)}"
        )
    classes = np.full(256, _VOID, dtype=np.uint8)
    for index, dataset_id in ids.items():
        classes[index] = class_of[dataset_id]
    return classes
