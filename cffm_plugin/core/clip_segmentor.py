"""ClipSegmentor: an image segmentor that looks at a few earlier frames. Torch alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import defaults
from .clip_inputs import check_clips, frames_of, labels_of_clips, output_size_of
from .clip_losses import clip_losses, frame_losses
from .frames import check_channel_order
from .head_embedding import HeadEmbedding
from .label_maps import CoarseOutput, crop_and_resize
from .levels import level_shapes, output_shape_of
from .prototype_branch import PrototypeBranch
from .segmentor_output import SegmentorOutput
from .stages import SegmentorStages
from .temporal_head import TemporalHead


class ClipSegmentor(SegmentorStages):
    """Wraps an image segmentor (a backbone and a semantic head) to take clips.

    Its weights are those of ``backbone`` and ``sem_seg_head``, under these names, and of
    ``temporal``, which is what this class adds. Without it, and for clips of one frame, this class
    is the image segmentor.

    Args:
        backbone: images (N, 3, H, W), normalised, to whatever ``sem_seg_head`` takes. It may
            say its ``size_divisibility`` and ``padding_constraints``, as detectron2's do.
        sem_seg_head: offers ``embed`` and ``classify``, see ``HeadEmbedding``.
        pixel_mean, pixel_std: per channel, in the units of the input (0..255).
        temporal: None for the plain image segmentor.
        image_loss_weight: of the head's losses on all labelled frames' image logits.
        video_loss_weight: of those on the target's video logits.
        prototype_branch: CFFM++'s. Training then trains it alone: everything else is without
            gradient and in evaluation mode.
        prototype_logit_weight: of the branch's logits, which are added to the video logits.
        freeze_image_segmentor: training trains ``temporal`` alone: backbone and head are
            without gradient and in evaluation mode.
        activation_checkpointing: training keeps few activations and computes the others again:
            less memory, a fourth more time, the same gradients. For temporal modules that know how
            to, such as CFFM, and for backbones with a method ``set_activation_checkpointing`` (MiT
            and timm's).
        head: how ``sem_seg_head`` is seen as an embedding; by default by its own ``embed``.
        frame_offsets: of the references relative to the target, oldest first, of clips that it
            was trained on; by default three frames apart, (-9, -6, -3).
        image_format: order of channels that ``backbone`` takes, "RGB" or "BGR".

    Raises:
        ValueError: parts don't go together.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        temporal: TemporalHead | None = None,
        image_loss_weight: float = defaults.IMAGE_LOSS_WEIGHT,
        video_loss_weight: float = defaults.VIDEO_LOSS_WEIGHT,
        prototype_branch: PrototypeBranch | None = None,
        prototype_logit_weight: float = defaults.PROTOTYPE_LOGIT_WEIGHT,
        freeze_image_segmentor: bool = False,
        activation_checkpointing: bool = False,
        head: HeadEmbedding | None = None,
        frame_offsets: Sequence[int] | None = None,
        image_format: str = "RGB",
    ):
        if freeze_image_segmentor and temporal is None:
            raise ValueError("with the image segmentor frozen and no temporal module, none trains")
        if prototype_branch is not None and temporal is None:
            raise ValueError("a prototype branch (CFFM++) is built on a temporal module (CFFM)")
        check_channel_order(image_format, "image_format")
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).float()[:, None, None], False)
        self.temporal = temporal
        self.image_loss_weight = image_loss_weight
        self.video_loss_weight = video_loss_weight
        self.prototype_branch = prototype_branch
        self.prototype_logit_weight = prototype_logit_weight
        self.head = head or HeadEmbedding(sem_seg_head, backbone, len(pixel_mean))
        self.image_format = image_format
        if temporal is not None:
            module = temporal.module
            level_shapes(output_shape_of(backbone), module.levels, type(module).__name__)
        if frame_offsets is None:
            frame_offsets = () if temporal is None else temporal.module.default_offsets
        self.frame_offsets = tuple(frame_offsets)
        if self.head.criterion is not None:
            self.criterion = self.head.criterion.module  # for its buffers; MaskFormer's name
        if prototype_branch is not None and self.head.kind.is_map:
            raise ValueError("CFFM++'s logits can't be added to the masks of mask classification")
        self._frozen_parts: list[str] = []
        if freeze_image_segmentor or prototype_branch is not None:
            self._frozen_parts += ["backbone", "sem_seg_head"]
        if prototype_branch is not None:
            self._frozen_parts.append("temporal")
        for name in self._frozen_parts:
            getattr(self, name).requires_grad_(False)
        if activation_checkpointing:
            self._checkpoint_activations()

    @property
    def image_segmentor_is_frozen(self) -> bool:
        return "sem_seg_head" in self._frozen_parts

    @property
    def gives_logits(self) -> bool:
        """Whether outputs are logits; if not, they are scores of classes, from 0."""
        return not self.head.kind.is_map

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    def forward(self, clips: Tensor, labels: Tensor | None = None) -> SegmentorOutput:
        """
        Args:
            clips: (B, T, 3, H, W), RGB, values 0..255; the oldest frame first, the target last. T
                is ``clip_length``, any number where that is None; or 1, for images. Or
                (B, 3, H, W), for images.
            labels: of all frames, (B, T, H, W), or of the targets, (B, H, W); whole numbers,
                0..K-1, or ``ignore_value`` (255) where there is no class.

        Raises:
            ValueError: other shapes or lengths; in training no labels, or images for a temporal
                module of clips.
        """
        clips = check_clips(clips, labels, self)
        if self.image_format == "BGR":
            clips = clips.flip(2)
        losses = {}
        if labels is not None:
            losses = self.losses([list(clip) for clip in clips], labels_of_clips(clips, labels))
        if self.training:
            return SegmentorOutput.of(losses)
        scores = [self.scores({"image": list(clip)}) for clip in clips]
        return SegmentorOutput.of(losses, torch.stack(scores))

    def losses(
        self,
        clips: Sequence[Sequence[Tensor]],
        labels: Sequence[Sequence[Tensor | None]],
        items: Sequence[dict[str, Any]] = (),
    ) -> dict[str, Tensor]:
        """What it trains with, see ``clip_losses``, whose arguments these are; without a temporal
        module, and of clips that are images, ``frame_losses`` of all labelled frames."""
        if self.temporal is not None and self.clip_length in (None, len(clips[0])):
            return clip_losses(self, clips, labels, items)
        frames = [frame for clip in clips for frame in clip]
        frame_labels = [label for clip_labels in labels for label in clip_labels]
        labelled = [(f, label) for f, label in zip(frames, frame_labels) if label is not None]
        return frame_losses(self, *zip(*labelled))

    def scores(self, item: dict[str, Any]) -> Tensor:
        """The prediction for one clip, (K, height, width): logits, or see ``gives_logits``.

        Args:
            item: as of ``coarse_output``.
        """
        frames = frames_of(item)
        if self.head.is_plain and not self._takes_clip(frames):
            return self._scores_of_forward(frames[-1], output_size_of(item, frames[-1]))
        # On one scale, whatever MODEL.TEMPORAL.OUTPUT is.
        return self.coarse_output(item).scores(self.head.kind.is_map)

    def _scores_of_forward(self, frame: Tensor, output_size: tuple[int, int]) -> Tensor:
        """The head's own logits of one frame, bit for bit."""
        batch, size = self.normalise_and_pad([frame])
        logits = self.sem_seg_head(self.backbone(batch))
        logits = logits[0] if isinstance(logits, tuple) else logits
        return crop_and_resize(logits[0], size, output_size)

    def coarse_output(self, item: dict[str, Any]) -> CoarseOutput:
        """The prediction for one clip before it is resized to the output.

        Every frame goes through the image segmentor by itself, so that the result is that of a
        stream to the bit, in which every frame is encoded once.

        Args:
            item: ``image``: its frames (3, H, W), oldest first, the target last, values 0..255 in
                the order of ``image_format``; or one such tensor. ``height``, ``width``: of the
                output, by default those of the target. With a prototype branch ``prototypes``,
                (P, C).

        Raises:
            ValueError: no frames, too many, or of different sizes.
        """
        *references, target = frames_of(item)
        encoded = self.encode([target])
        output_size = output_size_of(item, target)
        if not self._takes_clip([*references, target]):
            return self.coarse(self.classify(encoded), encoded, [output_size])[0]
        refined = self.refine_clip((self.encode([frame]) for frame in references), encoded)
        prediction = self.output(encoded, refined, [item])
        return self.coarse(prediction, encoded, [output_size])[0]

    def _takes_clip(self, frames: list[Tensor]) -> bool:
        """Whether the temporal module works on a clip, or the image segmentor on its target."""
        if self.temporal is None or self.clip_length is None:
            return self.temporal is not None
        if len(frames) > self.clip_length:
            raise ValueError(f"a clip of {len(frames)} frames, expected at most {self.clip_length}")
        return len(frames) == self.clip_length > 1

    def _checkpoint_activations(self) -> None:
        if not hasattr(self.backbone, "set_activation_checkpointing"):
            raise ValueError(
                "activation_checkpointing (MODEL.ACTIVATION_CHECKPOINTING): the backbone "
                f"{type(self.backbone).__name__} does not offer it; MiT and timm's models do"
            )
        self.backbone.set_activation_checkpointing(True)
        if self.temporal is not None:
            self.temporal.module.set_activation_checkpointing(True)

    def train(self, mode: bool = True) -> "ClipSegmentor":
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen_parts:
            getattr(self, name).eval()
        return self
