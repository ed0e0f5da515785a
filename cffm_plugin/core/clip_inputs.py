"""The inputs of segmentors: clips as tensors, or as lists of frames and labels, checked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .frames import warn_of_range

if TYPE_CHECKING:
    from .clip_segmentor import ClipSegmentor


def frames_of(item: dict[str, Any]) -> list[Tensor]:
    """The clip of an input as a list of frames."""
    image = item["image"]
    frames = [image] if isinstance(image, Tensor) else list(image)
    sizes = {tuple(frame.shape[-2:]) for frame in frames}
    if len(sizes) != 1:
        raise ValueError(
            f"a clip{video_text(item)} needs at least one frame and all of one size, got "
            f"{[tuple(frame.shape) for frame in frames]}"
        )
    return frames


def labels_of(item: dict[str, Any], num_frames: int) -> list[Tensor | None]:
    """The label map of every frame of a training clip, None where there is none."""
    labels = item.get("sem_seg", ())
    labels = [labels] if isinstance(labels, Tensor) else list(labels)
    if len(labels) != num_frames or labels[-1] is None:
        raise ValueError(
            f"training needs a label map, or None, for each of the {num_frames} frames of a clip"
            f"{video_text(item)}, and never None for the last one, the target; got "
            f"{['None' if label is None else tuple(label.shape) for label in labels]}"
        )
    return labels


def output_size_of(item: dict[str, Any], target: Tensor) -> tuple[int, int]:
    """Height and width of an input's output; by default those of its target, (3, H, W)."""
    return item.get("height", target.shape[1]), item.get("width", target.shape[2])


def check_clips(clips: Tensor, labels: Tensor | None, model: "ClipSegmentor") -> Tensor:
    """Clips as (B, T, 3, H, W).

    Args:
        clips, labels: of ``ClipSegmentor.forward``.
        model: what takes them.

    Raises:
        ValueError: they are not of a shape or type that it takes.
    """
    length = model.clip_length
    expected = f"(B, {length or 'T'}, 3, H, W), RGB, values 0..255, the target last"
    if not isinstance(clips, Tensor) or clips.dim() not in (4, 5) or clips.shape[-3] != 3:
        got = tuple(clips.shape) if isinstance(clips, Tensor) else type(clips).__name__
        raise ValueError(f"clips are {expected}; or (B, 3, H, W), for images; got {got}")
    warn_of_range(clips)
    clips = clips[:, None] if clips.dim() == 4 else clips
    if model.training and labels is None:
        raise ValueError("training needs labels: model(clips, labels=labels); or model.eval()")
    if model.temporal is not None and length not in (None, clips.shape[1]):
        if model.training:
            raise ValueError(f"training takes clips {expected}; got {tuple(clips.shape)}")
        if clips.shape[1] != 1:
            raise ValueError(
                f"clips are {expected}; or of one frame, for images; got {tuple(clips.shape)}"
            )
    shapes = ((*clips.shape[:2], *clips.shape[3:]), (len(clips), *clips.shape[3:]))
    if labels is not None and tuple(labels.shape) not in shapes:
        raise ValueError(
            f"labels are of all frames, {shapes[0]}, or of the targets, {shapes[1]}; got "
            f"{tuple(labels.shape)}"
        )
    if labels is not None and (labels.is_floating_point() or labels.is_complex()):
        raise ValueError(f"labels are whole numbers, int64 or uint8; got {labels.dtype}")
    return clips


def labels_of_clips(clips: Tensor, labels: Tensor) -> list[list[Tensor | None]]:
    """The label map of every frame of every clip, int64; None where there is none.

    Args:
        clips: (B, T, 3, H, W).
        labels: (B, T, H, W), or (B, H, W), of the targets.
    """
    labels = labels.long()
    if labels.dim() == 4:
        return [list(clip_labels) for clip_labels in labels]
    return [[None] * (clips.shape[1] - 1) + [target_labels] for target_labels in labels]


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


def video_text(item: dict[str, Any]) -> str:
    return f" of video {item['video_id']}" if "video_id" in item else ""
