"""What a video segmentor trains with: the losses of its head's embedding, for both predictions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .encoded import EncodedFrames, size_of
from .nested import map_tensors
from .outputs import RefinedOutput
from .padding import pad_to_one_size
from .prediction import Prediction, as_prediction

if TYPE_CHECKING:
    from .clip_segmentor import ClipSegmentor


def clip_losses(
    model: "ClipSegmentor",
    clips: Sequence[Sequence[Tensor]],
    labels: Sequence[Sequence[Tensor | None]],
    items: Sequence[dict[str, Any]] = (),
) -> dict[str, Tensor]:
    """The losses of clips (CFFM, section 3.1).

    The head's losses on the image predictions of all labelled frames, under their own names, and
    the sum of its ``video_losses`` on the targets' video predictions: ``loss_video``, or
    ``loss_prototype`` where CFFM++'s branch is trained. With auxiliary predictions, see
    ``Refined``, it is the mean over these and the video prediction.

    Args:
        model: in training mode, with a temporal module.
        clips: of each, its frames (3, H, W), the target last; all of one length.
        labels: of each frame, its label map (H, W), or None; never None for a target.
        items: with a prototype branch: of each clip, ``prototypes``.
    """
    length = len(clips[0])
    if any(len(clip) != length for clip in clips):
        raise ValueError(f"clips of a batch have one length, got {[len(clip) for clip in clips]}")
    label_maps = [label for clip_labels in labels for label in clip_labels]  # clip by clip, in time
    labelled = [i for i, label in enumerate(label_maps) if label is not None]
    targets_at = [n for n, i in enumerate(labelled) if (i + 1) % length == 0]
    padded_labels = _pad_labels(model, [label for label in label_maps if label is not None])

    batch, image_size = model.normalise_and_pad([frame for clip in clips for frame in clip])
    with torch.set_grad_enabled(torch.is_grad_enabled() and not model.image_segmentor_is_frozen):
        features = model.backbone(batch)
        embedding, context = model.head.embed(features)
        labelled_parts = (features, embedding, context)
        if len(labelled) < len(label_maps):
            labelled_parts = map_tensors(labelled_parts, lambda tensor: tensor[labelled])
        image_losses = model.head.image_losses(*labelled_parts, padded_labels)
    losses = {name: model.image_loss_weight * loss for name, loss in image_losses.items()}

    encoded = model.encoded(batch, features, embedding, context, image_size)
    *references, target = (encoded[place::length] for place in range(length))
    if model.prototype_branch is None:
        predictions, name = _video_predictions(model, references, target), "loss_video"
    else:
        predictions = [as_prediction(model.prototype_logits(target, items))]
        name = "loss_prototype"
    video_losses = [
        _video_loss(model, prediction, size_of(embedding), padded_labels[targets_at])
        for prediction in predictions
    ]
    losses[name] = model.video_loss_weight * torch.stack(video_losses).mean()
    return losses


def _video_predictions(
    model: "ClipSegmentor", references: Sequence[EncodedFrames], target: EncodedFrames
) -> list[Prediction]:
    """The video prediction of N targets, and the auxiliary ones."""
    refined = model.refine_clip(references, target)
    if isinstance(refined, Tensor):
        return [model.output(target, refined)]
    assert model.temporal is not None
    output = model.temporal.output
    auxiliary = []
    if isinstance(output, RefinedOutput):
        auxiliary = output.auxiliary_logits(refined.auxiliary)
    return [model.output(target, refined), *map(as_prediction, auxiliary)]


def _video_loss(
    model: "ClipSegmentor", prediction: Prediction, size: tuple[int, int], labels: Tensor
) -> Tensor:
    """Of one prediction; logits are resized to ``size``, the embedding's."""
    losses = model.head.video_losses(prediction.resized(size), labels)
    return torch.stack([*losses.values()]).sum()


def frame_losses(
    model: "ClipSegmentor", frames: Sequence[Tensor], labels: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The losses of labelled frames as images: without a temporal module, or in evaluation mode of
    what it has no past for.

    They are the head's own ``forward``'s, as those of detectron2's ``SemanticSegmentor``; and of
    the head's embedding where ``forward`` has none: under mask classification, and in evaluation.

    Args:
        model: in either mode.
        frames: N tensors (3, H, W).
        labels: of each, (H, W).
    """
    batch, _ = model.normalise_and_pad(frames)
    features = model.backbone(batch)
    padded_labels = _pad_labels(model, labels)
    if model.training and model.head.is_plain:
        return model.head.losses_of_forward(features, padded_labels)
    return model.head.image_losses(features, *model.head.embed(features), padded_labels)


def _pad_labels(model: "ClipSegmentor", label_maps: Sequence[Tensor]) -> Tensor:
    """As frames are padded: (N, H, W)."""
    return pad_to_one_size(
        [label.to(model.device) for label in label_maps],
        model.head.size_divisibility,
        model.head.ignore_value,
        getattr(model.backbone, "padding_constraints", None),
    )
