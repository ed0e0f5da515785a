"""CFFMSegmentor: an image segmenter that looks at a few earlier frames."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, SemanticSegmentor
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList
from torch import Tensor, nn

from .losses import pixel_cross_entropy
from .pixel_embedding import PixelEmbedding, as_pixel_embedding
from .segformer_head import upsample
from .temporal_head import PrototypeBranch, TemporalHead


@META_ARCH_REGISTRY.register()
class CFFMSegmentor(SemanticSegmentor):
    """Wraps an image segmenter (a backbone and a semantic head) to take clips.

    The image segmenter's submodules have the names that detectron2's ``SemanticSegmentor`` gives
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
        freeze_image_segmenter: bool = False,
    ):
        """
        Args:
            backbone: follows detectron2's backbone interface.
            sem_seg_head: any head that ``as_pixel_embedding`` accepts.
            pixel_mean, pixel_std: per channel, in the units of the input (0..255).
            temporal: None for the plain image segmenter.
            image_loss_weight: of the cross entropy of all frames' image logits.
            video_loss_weight: of the cross entropy of the target's video logits.
            prototype_branch: CFFM++'s. Training then trains it alone: everything else is without
                gradient and in evaluation mode.
            prototype_logit_weight: of the branch's logits, which are added to the video logits.
            freeze_image_segmenter: training trains ``temporal`` alone: backbone and head are
                without gradient and in evaluation mode.
        """
        if freeze_image_segmenter and temporal is None:
            raise ValueError("with the image segmenter frozen and no temporal module, none trains")
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
        if freeze_image_segmenter or prototype_branch is not None:
            self._frozen_parts += ["backbone", "sem_seg_head"]
        if prototype_branch is not None:
            self._frozen_parts.append("temporal")
        for name in self._frozen_parts:
            getattr(self, name).requires_grad_(False)

    @property
    def pixel_embedding(self) -> PixelEmbedding:
        """The image head, seen as the embedding that the temporal module works on."""
        return as_pixel_embedding(self.sem_seg_head)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        arguments = super().from_config(cfg)
        if not cfg.MODEL.CFFM.ENABLED:
            return arguments
        head = as_pixel_embedding(arguments["sem_seg_head"])
        temporal = TemporalHead(
            cfg, embedding_channels=head.embedding_channels, num_classes=head.num_classes
        )
        if cfg.MODEL.CFFM.PROTOTYPES.ENABLED:
            arguments["prototype_branch"] = PrototypeBranch(
                cfg, dim=temporal.cffm.dim, num_classes=head.num_classes
            )
            arguments["prototype_logit_weight"] = cfg.MODEL.CFFM.PROTOTYPES.LOGIT_WEIGHT
        return arguments | {
            "temporal": temporal,
            "image_loss_weight": cfg.MODEL.CFFM.IMAGE_LOSS_WEIGHT,
            "video_loss_weight": cfg.MODEL.CFFM.VIDEO_LOSS_WEIGHT,
            "freeze_image_segmenter": cfg.MODEL.CFFM.FREEZE_IMAGE_SEGMENTER,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """
        Args:
            batched_inputs: one dict per clip with
                ``image``: a list of T tensors (3, H, W), oldest frame first, target last, values
                0..255; or one such tensor, a clip of one frame;
                ``sem_seg``: training only: as many (H, W) int64 tensors;
                ``height``, ``width``: the size of the output, by default that of the target;
                ``prototypes``: with a prototype branch, those of the clip's video, (P, C).
                Clips may differ in size, the frames of a clip may not.

        Returns:
            in training, a dict of losses; otherwise a list of ``{"sem_seg": (K, height, width)}``
            logits. A clip with fewer frames than the temporal module takes gets the image
            segmenter's logits of its target.

        Raises:
            ValueError: an empty clip, too many frames, or frames of different sizes; in training
                also a clip with too few frames or without labels.
        """
        clips = [_frames_of(item) for item in batched_inputs]
        if self.training:
            if self.temporal is None:
                return super().forward(_one_input_per_frame(batched_inputs, clips))
            return self._video_losses(batched_inputs, clips)

        if self.temporal is None:
            takes_clip = [False] * len(clips)
        else:
            clip_length = self.temporal.cffm.num_references + 1
            for frames in clips:
                if len(frames) > clip_length:
                    raise ValueError(
                        f"a clip of {len(frames)} frames, expected at most {clip_length}"
                    )
            takes_clip = [len(frames) == clip_length > 1 for frames in clips]
        as_video = [i for i, takes in enumerate(takes_clip) if takes]
        as_image = [i for i, takes in enumerate(takes_clip) if not takes]
        results: dict[int, dict[str, Tensor]] = {}
        if as_image:
            targets = [batched_inputs[i] | {"image": clips[i][-1]} for i in as_image]
            for target in targets:
                target.pop("sem_seg", None)
            results.update(zip(as_image, super().forward(targets)))
        if as_video:
            outputs = self._video_predictions(
                [batched_inputs[i] for i in as_video], [clips[i] for i in as_video]
            )
            results.update(zip(as_video, outputs))
        return [results[i] for i in range(len(clips))]

    def _video_losses(
        self, batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
    ) -> dict[str, Tensor]:
        assert self.temporal is not None
        clip_length = self.temporal.cffm.num_references + 1
        for frames, item in zip(clips, batched_inputs):
            labels = item.get("sem_seg", ())
            if len(frames) != clip_length or len(labels) != clip_length:
                raise ValueError(
                    f"training CFFM takes clips of {clip_length} frames, each with its labels; "
                    f"got {len(frames)} frames and {len(labels)} label maps"
                    + (f" for video {item['video_id']}" if "video_id" in item else "")
                )
        ignore_value = self.sem_seg_head.ignore_value
        labels = ImageList.from_tensors(
            [label.to(self.device) for item in batched_inputs for label in item["sem_seg"]],
            self.backbone.size_divisibility,
            ignore_value,
            self.backbone.padding_constraints,
        ).tensor  # (B * T, H, W)
        target_labels = labels.view(len(clips), clip_length, *labels.shape[1:])[:, -1]
        image_segmenter_is_frozen = "sem_seg_head" in self._frozen_parts
        with torch.set_grad_enabled(torch.is_grad_enabled() and not image_segmenter_is_frozen):
            embedding, _ = self._embed(clips)  # (B, T, C, h, w)
            image_logits = self.pixel_embedding.classify(embedding.flatten(0, 1))
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
            video_logits, target_labels, ignore_value
        )
        return losses

    def _video_predictions(
        self, batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
    ) -> list[dict[str, Tensor]]:
        embedding, image_sizes = self._embed(clips)
        logits = self._video_logits(embedding)
        if self.prototype_branch is not None:
            logits = logits + self.prototype_logit_weight * self._prototype_logits(
                embedding, batched_inputs
            )
        logits = upsample(logits, self.pixel_embedding.embedding_stride)
        return [
            {
                "sem_seg": sem_seg_postprocess(
                    per_clip, size, item.get("height", size[0]), item.get("width", size[1])
                )
            }
            for per_clip, item, size in zip(logits, batched_inputs, image_sizes)
        ]

    def _embed(self, clips: list[list[Tensor]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Clips of T frames -> embeddings (B, T, C, h, w), and each clip's size before padding."""
        frames = [frame.to(self.device) for clip in clips for frame in clip]
        images = ImageList.from_tensors(
            [(frame - self.pixel_mean) / self.pixel_std for frame in frames],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )
        embedding = self.pixel_embedding.embed(self.backbone(images.tensor))
        clip_length = len(clips[0])
        return (
            embedding.unflatten(0, (len(clips), clip_length)),
            images.image_sizes[clip_length - 1 :: clip_length],
        )

    def _video_logits(self, embedding: Tensor) -> Tensor:
        """Embeddings (B, T, C, h, w) -> CFFM's logits of the targets (B, K, h, w)."""
        assert self.temporal is not None
        B, T, _, height, width = embedding.shape
        clip = self._resample(embedding.flatten(0, 1)).unflatten(0, (B, T))
        return F.interpolate(
            self.temporal(clip), size=(height, width), mode="bilinear", align_corners=False
        )

    def _prototype_logits(self, embedding: Tensor, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """Embeddings (B, T, C, h, w) -> the global branch's logits of the targets (B, K, h, w)."""
        assert self.prototype_branch is not None
        for item in batched_inputs:
            if "prototypes" not in item:
                raise ValueError(
                    f"CFFM++ needs the prototypes of video {item.get('video_id', 'unknown')} in "
                    'every input, as "prototypes": (P, C). The mapper adds them from '
                    "MODEL.CFFM.PROTOTYPES.FOLDER; tools/make_prototypes.py makes them."
                )
        prototypes = [item["prototypes"].to(embedding) for item in batched_inputs]
        logits = self.prototype_branch(self._resample(embedding[:, -1]), prototypes)
        size = embedding.shape[-2:]
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def _resample(self, embedding: Tensor) -> Tensor:
        """Embeddings (N, C, h, w) -> at the temporal module's stride."""
        assert self.temporal is not None
        return self.temporal.resample(embedding, self.pixel_embedding.embedding_stride)

    def embed_frames(self, images: list[Tensor]) -> Tensor:
        """Frames of one size -> their embeddings at the temporal module's stride.

        Args:
            images: N tensors (3, H, W), values 0..255.

        Returns:
            (N, C, h, w): what CFFM works on, and what prototypes are made of.
        """
        embedding, _ = self._embed([[image] for image in images])
        return self._resample(embedding.flatten(0, 1))

    def train(self, mode: bool = True) -> "CFFMSegmentor":
        """As in torch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self._frozen_parts:
            getattr(self, name).eval()
        return self


def _frames_of(item: dict[str, Any]) -> list[Tensor]:
    """The clip of an input as a list of frames."""
    image = item["image"]
    frames = [image] if isinstance(image, Tensor) else list(image)
    sizes = {tuple(frame.shape[-2:]) for frame in frames}
    if len(sizes) != 1:
        of_video = f" of video {item['video_id']}" if "video_id" in item else ""
        raise ValueError(
            f"a clip{of_video} needs at least one frame and all of one size, got "
            f"{[tuple(frame.shape) for frame in frames]}"
        )
    return frames


def _one_input_per_frame(
    batched_inputs: list[dict[str, Any]], clips: list[list[Tensor]]
) -> list[dict[str, Any]]:
    """Clips as separate images with their labels, for the image segmenter."""
    inputs = []
    for item, frames in zip(batched_inputs, clips):
        labels = item.get("sem_seg", ())
        labels = [labels] if isinstance(labels, Tensor) else list(labels)
        if len(labels) != len(frames):
            raise ValueError(
                f"training needs a label map per frame, got {len(labels)} for {len(frames)} frames"
            )
        inputs += [{"image": frame, "sem_seg": label} for frame, label in zip(frames, labels)]
    return inputs
