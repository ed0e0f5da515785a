"""The inputs of CFFMSegmentor: clips as lists of frames and labels, checked."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor


def frames_of(item: dict[str, Any]) -> list[Tensor]:
    """The clip of an input as a list of frames."""
    image = item["image"]
    frames = [image] if isinstance(image, Tensor) else list(image)
    sizes = {tuple(frame.shape[-2:]) for frame in frames}
    if len(sizes) != 1:
        raise ValueError(
            f"a clip{of_video(item)} needs at least one frame and all of one size, got "
            f"{[tuple(frame.shape) for frame in frames]}"
        )
    return frames


def of_one_size(clips: Sequence[list[Tensor]], indices: Iterable[int]) -> list[list[int]]:
    """Some of the clips, by number, in groups whose frames have the same height and width."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in indices:
        groups.setdefault(tuple(clips[index][-1].shape[-2:]), []).append(index)
    return list(groups.values())


def labels_of(item: dict[str, Any], num_frames: int) -> list[Tensor | None]:
    """The label map of every frame of a training clip, None where there is none."""
    labels = item.get("sem_seg", ())
    labels = [labels] if isinstance(labels, Tensor) else list(labels)
    if len(labels) != num_frames or labels[-1] is None:
        raise ValueError(
            f"training needs a label map, or None, for each of the {num_frames} frames of a clip"
            f"{of_video(item)}, and never None for the last one, the target; got "
            f"{['None' if label is None else tuple(label.shape) for label in labels]}"
        )
    return labels


def one_input_per_frame(
    batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
) -> list[dict[str, Any]]:
    """The labelled frames of clips as separate images, for the image segmentor."""
    return [
        {"image": frame, "sem_seg": label}
        for item, frames in zip(batched_inputs, clips)
        for frame, label in zip(frames, labels_of(item, len(frames)))
        if label is not None
    ]


def prototypes_of(items: Sequence[dict[str, Any]]) -> list[Tensor]:
    """The prototypes of every clip's video, (P, C), for CFFM++."""
    for item in items:
        if "prototypes" not in item:
            raise ValueError(
                f"CFFM++ needs the prototypes of video {item.get('video_id', 'unknown')} in "
                'every input, as "prototypes": (P, C). The mapper adds them from '
                "MODEL.TEMPORAL.PROTOTYPES.FOLDER; cffm prototypes makes them."
            )
    return [item["prototypes"] for item in items]


def of_video(item: dict[str, Any]) -> str:
    return f" of video {item['video_id']}" if "video_id" in item else ""
