"""What models give that give one result a video, such as DVIS++, PMT and VidEoMT, as frames."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from cffm_plugin.data import LabelMapping

_VOID = 255


def is_whole_video(output: Mapping[str, Any]) -> bool:
    """Whether an output is of a video, or of a frame."""
    return "pred_masks" in output


def frames_of_video(
    video: Mapping[str, Any],
    output: Mapping[str, Any],
    classes: np.ndarray,
    masks: Mapping[str, str | None] | None,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The records and outputs of a video's frames, as ``VSPWEvaluator`` takes them.

    Args:
        video: ``video_id``, ``file_names`` of all its L frames, ``frame_idx``, which of them were
            given to the model (by default all), and ``sem_mask_names``, L mask files, if ``masks``
            is None.
        output: ``pred_masks``, (T, H, W) class indices of the model, 255 for none.
        classes: the model's class index -> the dataset's, (256,) uint8, see ``classes_of_model``.
        masks: stem of a frame's file -> its mask file, None without ground truth.

    Raises:
        ValueError: something is missing or does not fit; a class is not in ``classes``.
    """
    video_id = video["video_id"]
    if output.get("task", "vss") != "vss":
        raise ValueError(
            f"Video {video_id}: the model gave the task {output['task']!r}. Semantic segmentation "
            'is "vss" (MODEL.MASK_FORMER.TEST.TASK of DVIS++, PMT and VidEoMT).'
        )
    files = video["file_names"]
    indices = list(video.get("frame_idx", range(len(files))))
    predicted = torch.as_tensor(output["pred_masks"]).cpu().numpy()
    if predicted.ndim != 3 or len(predicted) != len(indices):
        raise ValueError(
            f"Video {video_id}: expected pred_masks (T, H, W), a class for every pixel of its "
            f"{len(indices)} frames; got {predicted.shape}"
        )
    if masks is None:
        masks = dict(zip((Path(file).stem for file in files), video["sem_mask_names"]))
    for index, labels in zip(indices, predicted):
        file = files[index]
        if Path(file).stem not in masks:
            raise ValueError(f"Video {video_id}: {file} is no frame of the dataset scored against")
        record = {
            "video_id": video_id,
            "frame_index": index,
            "num_frames": len(files),
            "file_name": file,
            "sem_seg_file_name": masks[Path(file).stem],
        }
        unknown = [int(k) for k in np.unique(labels) if not _is_known(k, classes)]
        if unknown:
            raise ValueError(
                f"Video {video_id}, frame {file}: the model predicts class {unknown[0]}, which "
                "stuff_dataset_id_to_contiguous_id does not hold. Is it that of the model's "
                "training?"
            )
        yield record, {"label_map": torch.from_numpy(classes[labels.astype(np.uint8)])}


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
    for of_kind in (stuff, metadata.get(name.format("thing")) or {}):
        for dataset_id, index in of_kind.items():
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
