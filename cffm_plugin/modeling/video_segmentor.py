"""CFFMSegmentor: an image segmentor that looks at a few earlier frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor
from detectron2.structures import ImageList
from torch import Tensor, nn

from ..core import FrameTokens
from .clip_inputs import frames_of, labels_of, of_video, one_input_per_frame
from .heads.embedding import PixelEmbedding, as_pixel_embedding
from .label_maps import CoarseLogits, resize
from .losses import pixel_cross_entropy
from .normalization import warn_of_unresolved_normalization
from .temporal.head import PrototypeBranch, TemporalHead


@dataclass(frozen=True)
class EncodedFrames:
    """What the image segmentor makes of N frames of one size.

    Attributes:
        embedding: of every pixel, (N, C, h, w), at the head's stride.
        cells: the same at the temporal module's width and stride, (N, dim, h', w'): what CFFM works
            on, and what prototypes are made of. The embedding itself without a temporal module.
        image_size: height and width of the frames before padding.
    """

    embedding: Tensor
    cells: Tensor
    image_size: tuple[int, int]


@META_ARCH_REGISTRY.register()
class CFFMSegmentor(SemanticSegmentor):
    """Wraps an image segmentor (a backbone and a semantic head) to take clips.

    The image segmentor's submodules have the names that detectron2's ``SemanticSegmentor`` gives
    them, so its weights load unchanged; ``temporal`` is what this class adds. Without it, and for
    clips of one frame, this class *is* ``SemanticSegmentor``.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        sem_seg_head: nn.Module,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        temporal: TemporalHead | None = None,
        image_loss_weight: float = 0.5,
        video_loss_weight: float = 1.0,
        prototype_branch: PrototypeBranch | None = None,
        prototype_logit_weight: float = 0.5,
        freeze_image_segmentor: bool = False,
        activation_checkpointing: bool = False,
    ):
        """
        Args:
            backbone: follows detectron2's backbone interface.
            sem_seg_head: any head that ``as_pixel_embedding`` accepts.
            pixel_mean, pixel_std: per channel, in the units of the input (0..255).
            temporal: None for the plain image segmentor.
            image_loss_weight: of the cross entropy of all labelled frames' image logits.
            video_loss_weight: of the cross entropy of the target's video logits.
            prototype_branch: CFFM++'s. Training then trains it alone: everything else is without
                gradient and in evaluation mode.
            prototype_logit_weight: of the branch's logits, which are added to the video logits.
            freeze_image_segmentor: training trains ``temporal`` alone: backbone and head are
                without gradient and in evaluation mode.
            activation_checkpointing: training keeps few activations and computes the others again:
                less memory, a fourth more time, the same gradients. For backbones that offer it by
                a method ``set_activation_checkpointing`` (MiT and timm's), and for CFFM.
        """
        if freeze_image_segmentor and temporal is None:
            raise ValueError("with the image segmentor frozen and no temporal module, none trains")
        if prototype_branch is not None and temporal is None:
            raise ValueError("a prototype branch (CFFM++) is built on a temporal module (CFFM)")
        super().__init__(
            backbone=backbone, sem_seg_head=sem_seg_head, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.temporal = temporal
        self.image_loss_weight = image_loss_weight
        self.video_loss_weight = video_loss_weight
        self.prototype_branch = prototype_branch
        self.prototype_logit_weight = prototype_logit_weight
        if temporal is not None:
            as_pixel_embedding(sem_seg_head)  # raises now, not at the first clip
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
    def pixel_embedding(self) -> PixelEmbedding:
        """The image head, seen as the embedding that the temporal module works on."""
        return as_pixel_embedding(self.sem_seg_head)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        warn_of_unresolved_normalization(cfg)
        arguments = super().from_config(cfg)
        arguments["activation_checkpointing"] = cfg.MODEL.ACTIVATION_CHECKPOINTING
        if not cfg.MODEL.TEMPORAL.ENABLED:
            return arguments
        head = as_pixel_embedding(arguments["sem_seg_head"])
        temporal = TemporalHead(
            cfg, embedding_channels=head.embedding_channels, num_classes=head.num_classes
        )
        if cfg.MODEL.TEMPORAL.PROTOTYPES.ENABLED:
            arguments["prototype_branch"] = PrototypeBranch(
                cfg, dim=temporal.cffm.dim, num_classes=head.num_classes
            )
            arguments["prototype_logit_weight"] = cfg.MODEL.TEMPORAL.PROTOTYPES.LOGIT_WEIGHT
        return arguments | {
            "temporal": temporal,
            "image_loss_weight": cfg.MODEL.TEMPORAL.IMAGE_LOSS_WEIGHT,
            "video_loss_weight": cfg.MODEL.TEMPORAL.VIDEO_LOSS_WEIGHT,
            "freeze_image_segmentor": cfg.MODEL.TEMPORAL.FREEZE_IMAGE_SEGMENTER,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """
        Args:
            batched_inputs: one dict per clip with
                ``image``: a list of T tensors (3, H, W), oldest frame first, target last, values
                0..255; or one such tensor, a clip of one frame;
                ``sem_seg``: training only: as many (H, W) int64 tensors, or None for references
                without labels, which add nothing to the image loss;
                ``height``, ``width``: the size of the output, by default that of the target;
                ``prototypes``: with a prototype branch, those of the clip's video, (P, C).
                Clips may differ in size, the frames of a clip may not.

        Returns:
            in training, a dict of losses; otherwise a list of ``{"sem_seg": (K, height, width)}``
            logits. A clip with fewer frames than the temporal module takes gets the image
            segmentor's logits of its target.

        Raises:
            ValueError: an empty clip, too many frames, or frames of different sizes; in training
                also a clip with too few frames or without labels of its target.
        """
        clips = [frames_of(item) for item in batched_inputs]
        if self.training:
            if self.temporal is None:
                return super().forward(one_input_per_frame(batched_inputs, clips))
            return self._video_losses(batched_inputs, clips)

        takes_clip = [self._takes_clip(frames) for frames in clips]
        as_image = [i for i, takes in enumerate(takes_clip) if not takes]
        results: dict[int, dict[str, Tensor]] = {}
        if as_image:
            targets = [batched_inputs[i] | {"image": clips[i][-1]} for i in as_image]
            for target in targets:
                target.pop("sem_seg", None)
            results.update(zip(as_image, super().forward(targets)))
        for i, item in enumerate(batched_inputs):
            if takes_clip[i]:
                results[i] = {"sem_seg": self.coarse_logits(item).full_resolution()}
        return [results[i] for i in range(len(clips))]

    def coarse_logits(self, item: dict[str, Any]) -> CoarseLogits:
        """The logits of one clip before they are resized to the output.

        Every frame goes through the image segmentor by itself, so that the result is that of a
        stream to the bit, in which every frame is encoded once.

        Args:
            item: as one of ``forward``'s.

        Raises:
            ValueError: as ``forward``.
        """
        *references, target = frames_of(item)
        encoded = self.encode([target])
        output_size = item.get("height", target.shape[1]), item.get("width", target.shape[2])
        if not self._takes_clip([*references, target]):
            return self.image_logits(encoded, [output_size])[0]
        assert self.temporal is not None
        tokens = [
            self.temporal.cffm.assemble(self.encode([frame]).cells, slots=(slot,))
            for slot, frame in enumerate(references)
        ]
        return self.video_logits(encoded, tokens, [item], [output_size])[0]

    def _takes_clip(self, frames: list[Tensor]) -> bool:
        """Whether the temporal module works on a clip, or the image segmentor on its target."""
        if self.temporal is None:
            return False
        clip_length = self.temporal.cffm.num_references + 1
        if len(frames) > clip_length:
            raise ValueError(f"a clip of {len(frames)} frames, expected at most {clip_length}")
        return len(frames) == clip_length > 1

    def encode(self, images: list[Tensor]) -> "EncodedFrames":
        """The image segmentor's part of the work, up to the embedding.

        Args:
            images: N frames (3, H, W) of one size, values 0..255.
        """
        embedding, image_sizes = self._embed(images)
        cells = embedding if self.temporal is None else self._resample(embedding)
        return EncodedFrames(embedding, cells, image_sizes[0])

    def image_logits(
        self, encoded: "EncodedFrames", output_sizes: list[tuple[int, int]]
    ) -> list[CoarseLogits]:
        """The image segmentor's logits of every encoded frame, for outputs of these sizes."""
        logits = self.pixel_embedding.classify(encoded.embedding)
        return self._coarse(logits, encoded, output_sizes)

    def video_logits(
        self,
        encoded: "EncodedFrames",
        references: Sequence[FrameTokens],
        items: list[dict[str, Any]],
        output_sizes: list[tuple[int, int]],
    ) -> list[CoarseLogits]:
        """CFFM's logits of every encoded frame.

        Args:
            encoded: N target frames.
            references: their references' tokens, oldest first, each a batch of N.
            items: with a prototype branch: N dicts with ``prototypes``.
            output_sizes: height and width of the N outputs.
        """
        assert self.temporal is not None
        logits = self.temporal.classify(
            encoded.cells, self.temporal.cffm.mine(encoded.cells, references)
        )
        if self.prototype_branch is not None:
            logits = logits + self.prototype_logit_weight * self.prototype_branch(
                encoded.cells, self._prototypes_of(items)
            )
        return self._coarse(logits, encoded, output_sizes)

    def _coarse(
        self, logits: Tensor, encoded: "EncodedFrames", output_sizes: list[tuple[int, int]]
    ) -> list[CoarseLogits]:
        height, width = encoded.embedding.shape[-2:]
        stride = self.pixel_embedding.embedding_stride
        return [
            CoarseLogits(of_frame, (height, width), stride, encoded.image_size, size)
            for of_frame, size in zip(logits, output_sizes, strict=True)
        ]

    def _video_losses(
        self, batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
    ) -> dict[str, Tensor]:
        assert self.temporal is not None
        clip_length = self.temporal.cffm.num_references + 1
        label_maps: list[Tensor | None] = []  # of all clips, one per frame
        for frames, item in zip(clips, batched_inputs):
            if len(frames) != clip_length:
                raise ValueError(
                    f"training CFFM takes clips of {clip_length} frames, got {len(frames)}"
                    f"{of_video(item)}"
                )
            label_maps += labels_of(item, clip_length)
        labelled = [i for i, label in enumerate(label_maps) if label is not None]
        ignore_value = self.sem_seg_head.ignore_value
        labels = ImageList.from_tensors(
            [label.to(self.device) for label in label_maps if label is not None],
            self.backbone.size_divisibility,
            ignore_value,
            self.backbone.padding_constraints,
        ).tensor  # (labelled frames, H, W)
        targets = [n for n, i in enumerate(labelled) if (i + 1) % clip_length == 0]
        image_segmentor_is_frozen = "sem_seg_head" in self._frozen_parts
        with torch.set_grad_enabled(torch.is_grad_enabled() and not image_segmentor_is_frozen):
            embedding, _ = self._embed([frame for clip in clips for frame in clip])
            embedding = embedding.unflatten(0, (len(clips), clip_length))  # (B, T, C, h, w)
            of_frames = embedding.flatten(0, 1)
            if len(labelled) < len(of_frames):
                of_frames = of_frames[labelled]
            image_logits = self.pixel_embedding.classify(of_frames)
            losses = {
                "loss_sem_seg": self.image_loss_weight
                * pixel_cross_entropy(image_logits, labels, ignore_value)
            }
        if self.prototype_branch is None:
            video_logits = self._video_logits(embedding)
            name = "loss_video"
        else:
            video_logits = self._prototype_logits(embedding, batched_inputs)
            name = "loss_prototype"
        losses[name] = self.video_loss_weight * pixel_cross_entropy(
            video_logits, labels[targets], ignore_value
        )
        return losses

    def _embed(self, images: list[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        """N frames -> embeddings (N, C, h, w), and each frame's size before padding."""
        padded = ImageList.from_tensors(
            [(image.to(self.device) - self.pixel_mean) / self.pixel_std for image in images],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )
        return self.pixel_embedding.embed(self.backbone(padded.tensor)), padded.image_sizes

    def _video_logits(self, embedding: Tensor) -> Tensor:
        """Embeddings (B, T, C, h, w) -> CFFM's logits of the targets (B, K, h, w)."""
        assert self.temporal is not None
        clip = self._resample(embedding.flatten(0, 1)).unflatten(0, embedding.shape[:2])
        return resize(self.temporal(clip), embedding.shape[-2:])

    def _prototype_logits(self, embedding: Tensor, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """Embeddings (B, T, C, h, w) -> the global branch's logits of the targets (B, K, h, w)."""
        assert self.prototype_branch is not None
        logits = self.prototype_branch(
            self._resample(embedding[:, -1]), self._prototypes_of(batched_inputs)
        )
        return resize(logits, embedding.shape[-2:])

    def _prototypes_of(self, items: list[dict[str, Any]]) -> list[Tensor]:
        for item in items:
            if "prototypes" not in item:
                raise ValueError(
                    f"CFFM++ needs the prototypes of video {item.get('video_id', 'unknown')} in "
                    'every input, as "prototypes": (P, C). The mapper adds them from '
                    "MODEL.TEMPORAL.PROTOTYPES.FOLDER; tools/make_prototypes.py makes them."
                )
        return [item["prototypes"].to(self.pixel_mean) for item in items]

    def _resample(self, embedding: Tensor) -> Tensor:
        """Embeddings (N, C, h, w) -> at the temporal module's stride."""
        assert self.temporal is not None
        return self.temporal.resample(embedding, self.pixel_embedding.embedding_stride)

    def _checkpoint_activations(self) -> None:
        if not hasattr(self.backbone, "set_activation_checkpointing"):
            raise ValueError(
                "MODEL.ACTIVATION_CHECKPOINTING: the backbone "
                f"{type(self.backbone).__name__} does not offer it; MiT and timm's models do"
            )
        self.backbone.set_activation_checkpointing(True)
        if self.temporal is not None:
            self.temporal.cffm.set_activation_checkpointing(True)

    def train(self, mode: bool = True) -> "CFFMSegmentor":
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen_parts:
            getattr(self, name).eval()
        return self
