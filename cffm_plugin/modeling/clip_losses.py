"""What a video segmentor trains with: the losses of its head's embedding, for both predictions."""

from typing import TYPE_CHECKING, Any

import torch
from detectron2.structures import ImageList
from torch import Tensor

from .clip_inputs import labels_of, of_video, one_input_per_frame
from .encoded import size_of
from .label_maps import resize
from .nested import map_tensors

if TYPE_CHECKING:
    from .video_segmentor import CFFMSegmentor


def clip_losses(
    model: "CFFMSegmentor", batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
) -> dict[str, Tensor]:
    """The losses of clips (CFFM, section 3.1).

    The head's losses on the image predictions of all labelled frames, under their own names, and
    the sum of its ``video_losses`` on the targets' video predictions: ``loss_video``, or
    ``loss_prototype`` where CFFM++'s branch is trained.

    Args:
        model: in training mode, with a temporal module.
        batched_inputs: as for its ``forward``.
        clips: their frames.

    Raises:
        ValueError: a clip with too few or too many frames, or without labels of its target.
    """
    length = model.num_references + 1
    label_maps = _label_maps(batched_inputs, clips, length)  # clip by clip, in time
    labelled = [i for i, label in enumerate(label_maps) if label is not None]
    labels = _pad_labels(model, [label for label in label_maps if label is not None])
    of_targets = [n for n, i in enumerate(labelled) if (i + 1) % length == 0]

    batch = model.normalise_and_pad([frame for clip in clips for frame in clip])
    with torch.set_grad_enabled(torch.is_grad_enabled() and not model.image_segmentor_is_frozen):
        features = model.backbone(batch.tensor)
        embedding, context = model.head.embed(features)
        of_labelled = (features, embedding, context)
        if len(labelled) < len(label_maps):
            of_labelled = map_tensors(of_labelled, lambda tensor: tensor[labelled])
        image_losses = model.head.image_losses(*of_labelled, labels)
    losses = {name: model.image_loss_weight * loss for name, loss in image_losses.items()}

    encoded = model.encoded(embedding, context, batch.image_sizes[0], size_of(batch.tensor))
    target = encoded[length - 1 :: length]
    if model.prototype_branch is None:
        references = [
            model.assemble(encoded[slot::length], slots=(slot,))
            for slot in range(model.num_references)
        ]
        logits, name = model.output(target, model.mine(target, references)), "loss_video"
    else:
        logits, name = model.prototype_logits(target, batched_inputs), "loss_prototype"
    if isinstance(logits, Tensor):
        logits = resize(logits, embedding.shape[-2:])
    video_losses = model.head.video_losses(logits, labels[of_targets])
    losses[name] = model.video_loss_weight * torch.stack([*video_losses.values()]).sum()
    return losses


def frame_losses(
    model: "CFFMSegmentor", batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
) -> dict[str, Tensor]:
    """The losses of the labelled frames of clips as images, without a temporal module.

    They are those of detectron2's ``SemanticSegmentor``, the head's own ``forward``'s; and of the
    head's embedding under mask classification, where ``forward`` has none.
    """
    items = one_input_per_frame(batched_inputs, clips)
    batch = model.normalise_and_pad([item["image"] for item in items])
    features = model.backbone(batch.tensor)
    labels = _pad_labels(model, [item["sem_seg"] for item in items])
    if model.head.is_plain:
        return model.head.losses_of_forward(features, labels)
    return model.head.image_losses(features, *model.head.embed(features), labels)


def _pad_labels(model: "CFFMSegmentor", label_maps: list[Tensor]) -> Tensor:
    """As frames are padded: (N, H, W)."""
    return ImageList.from_tensors(
        [label.to(model.device) for label in label_maps],
        model.head.size_divisibility,
        model.head.ignore_value,
        model.backbone.padding_constraints,
    ).tensor


def _label_maps(
    batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]], length: int
) -> list[Tensor | None]:
    """The label map of every frame of every clip, None where there is none."""
    for frames, item in zip(clips, batched_inputs):
        if len(frames) != length:
            raise ValueError(
                f"training takes clips of {length} frames, got {len(frames)}{of_video(item)}"
            )
    return [label for item in batched_inputs for label in labels_of(item, length)]
