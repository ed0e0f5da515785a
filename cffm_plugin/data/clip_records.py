"""Clips as records: which frames of a dataset's record the mapper reads."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..core.clips import inference_clip, training_clip

Record = dict[str, Any]


def draw_training_clip(record: Record, offsets: Sequence[int], reverse_prob: float = 0.5) -> Record:
    """Draw a clip from the record of a training video; the draw comes from ``random``.

    Args:
        record: of a video, with its ``frames``.
        offsets: of the references, relative to the target.
        reverse_prob: probability of drawing from the video reversed in time.

    Returns:
        the record with the clip's ``frames``, oldest reference first (last in time where the video
        was drawn reversed), the target last; and their ``frame_indices`` in the video.

    Raises:
        ValueError: no frame of the video has labels, or none of these has all its references.
    """
    labelled = labelled_frames(record)
    if not labelled:
        raise ValueError(
            f"Video {record['video_id']}, {record['frames'][0]['file_name']}: training needs a "
            "mask, and no frame of the video has one. Is a test split among DATASETS.TRAIN?"
        )
    rng = random.Random(random.getrandbits(64))
    indices = training_clip(len(record["frames"]), offsets, rng, reverse_prob, labelled)
    return record | {
        "frames": [record["frames"][index] for index in indices],
        "frame_indices": indices,
    }


def with_references(video: Sequence[Record], offsets: Sequence[int]) -> Iterator[Record]:
    """Copies of a video's test records, with the reference frames that ``offsets`` ask for.

    Args:
        video: one record per frame, in order.
        offsets: relative to the target; () for the target alone.
    """
    file_names = [record["file_name"] for record in video]
    for record in video:
        *references, _ = inference_clip(record["frame_index"], offsets)
        yield record | {"reference_file_names": [file_names[index] for index in references]}


def labelled_frames(record: Record) -> list[int]:
    """Indices of the frames of a video, a training record, that have a mask."""
    frames = record["frames"]
    return [i for i, frame in enumerate(frames) if frame["sem_seg_file_name"] is not None]
